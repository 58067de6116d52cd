from backup_playbook.engines.postgres.archive import differences, post_data_steps

TABLE, INDEX = b"215; 1259 16386 TABLE public foo alice", b"3300; 1259 16390 INDEX public foo_v alice"
ATTACH = b"3301; 0 0 INDEX ATTACH public foo_1_v alice"
KEY = b"3400; 2606 16400 FK CONSTRAINT public foo foo_fkey alice"


def test_owners_and_numbers_are_not_compared() -> None:
    restored = [b"9; 1259 5 TABLE public foo Bob Builder", b"10; 1259 6 INDEX public foo_v Bob Builder"]
    assert differences([TABLE, INDEX], restored, [b"Builder", b"Bob Builder"]) == (2, [])


def test_owners_of_the_archive_may_have_spaces_and_extensions_have_none() -> None:
    archived = [b"1; 1 1 TABLE public foo Alice in Wonderland", b"2; 3079 3 EXTENSION - vector "]
    restored = [b"1; 1 1 TABLE public foo bob", b"2; 3079 3 EXTENSION - vector "]
    assert differences(archived, restored, [b"bob"]) == (2, [])


def test_what_only_one_has() -> None:
    found = [TABLE, b"4; 1 1 VIEW public extra alice"]
    assert differences([TABLE, INDEX], found, [b"alice"]) == (
        1, ["INDEX public foo_v of the backup is missing.", "VIEW public extra is not in the backup."]
    )  # fmt: skip


def test_one_of_two_of_the_same_name_is_missing() -> None:
    assert differences([TABLE, TABLE], [TABLE], [b"alice"])[1] == ["TABLE public foo of the backup is missing."]


def test_indexes_of_partitions_are_attached_alone() -> None:
    assert post_data_steps([INDEX, ATTACH, KEY]) == [([INDEX], True), ([ATTACH], False), ([KEY], True)]
    assert post_data_steps([INDEX, KEY]) == [([INDEX, KEY], True)]
