"""What a copy gets of an archive, in which steps; and what is a difference between two of them."""

import itertools
from typing import Any

from backup_playbook.engines.postgres.archive import differences, post_data_steps, restorable
from backup_playbook.engines.postgres.table_of_contents import Entry

NUMBERS = itertools.count(1000)


def entry(kind: str, tag: str, definition: str = "", **facts: Any) -> Entry:
    defaults = {"number": next(NUMBERS), "namespace": b"public", "owner": b"alice", "needs": ()}
    return Entry(
        kind=kind.encode(), tag=tag.encode(), definition=definition.encode(), section="post-data", tablespace=b"",
        access_method=b"", **defaults | facts,
    )  # fmt: skip


TABLE, INDEX = entry("TABLE", "foo"), entry("INDEX", "foo_v", "CREATE INDEX foo_v ON foo (v)")
ATTACH, KEY = entry("INDEX ATTACH", "foo_1_v"), entry("FK CONSTRAINT", "foo foo_fkey")


def test_owners_and_numbers_are_not_compared_without_owners() -> None:
    restored = entry("TABLE", "foo", number=9, owner=b"Bob\nBuilder")
    assert differences([TABLE, INDEX], [restored, INDEX], owners=False) == (2, [])
    assert differences([TABLE], [restored], owners=True)[1] == [
        "TABLE public foo has the owner Bob\nBuilder where the backup has alice."
    ]


def test_what_only_one_has() -> None:
    assert differences([TABLE, INDEX], [TABLE, entry("VIEW", "extra")], owners=True) == (
        1, ["INDEX public foo_v of the backup is missing.", "VIEW public extra is not in the backup."]
    )  # fmt: skip


def test_other_words() -> None:
    found = [entry("INDEX", "foo_v", "CREATE INDEX foo_v ON foo (w)"), TABLE]
    assert differences([TABLE, INDEX], found, owners=False) == (
        1, ["INDEX public foo_v is defined in other words than in the backup."]
    )  # fmt: skip


def test_one_of_two_of_the_same_name_is_missing() -> None:
    assert differences([TABLE, TABLE], [TABLE], owners=False)[1] == ["TABLE public foo of the backup is missing."]


def test_the_owner_of_schema_public_counts_with_owners_only() -> None:
    public = entry("SCHEMA", "public", "-- *not* creating schema, since initdb creates it\n", namespace=b"")
    assert differences([public], [], owners=False) == (0, [])
    assert differences([public], [], owners=True)[1] == ["SCHEMA - public of the backup is missing."]


def test_indexes_of_partitions_are_attached_alone_and_event_triggers_come_last() -> None:
    triggers = [entry("EVENT TRIGGER", "t", namespace=b""), entry("COMMENT", "EVENT TRIGGER t", namespace=b"")]
    assert post_data_steps([INDEX, ATTACH, KEY, *triggers]) == [([INDEX], True), ([ATTACH], False), ([KEY], True)]
    assert post_data_steps([INDEX, *triggers, KEY]) == [([INDEX, KEY], True)]


def test_pg_cron_stays_behind_with_what_needs_it() -> None:
    cron = entry("EXTENSION", "pg_cron", number=1, namespace=b"")
    behind = [
        cron,
        entry("COMMENT", "EXTENSION pg_cron", number=2, namespace=b"", needs=(1,)),
        entry("ACL", "SCHEMA cron", number=3, namespace=b"", needs=(999,)),
        entry("ACL", "TABLE job", number=4, namespace=b"cron", needs=(998,)),
        entry("VIEW", "my_jobs", number=5, needs=(7, 1)),
        entry("VIEW", "of_my_jobs", number=6, needs=(5,)),
    ]
    assert restorable([*behind, TABLE], owners=True) == [TABLE]
    own = entry("TABLE", "mine", namespace=b"cron")
    assert restorable([own], owners=True) == [own]
