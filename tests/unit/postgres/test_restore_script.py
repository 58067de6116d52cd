import subprocess
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from backup_playbook.core.model import EncryptionRecord, Manifest, ObjectKind, StoredObject, TablePart, TableRecord
from backup_playbook.engines.postgres.details import PostgresDetails, Roles
from backup_playbook.engines.postgres.restore_script import render

NOW = datetime(2026, 11, 23, 2, 0, 4, tzinfo=UTC)
hostile = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20
) | st.sampled_from(
    ["$(touch hacked)", "`id`", "'", '"', "\n", "'\\''", "@BODY@", "@REPOSITORY@", "\\", "!x", "; exit 0; #"]
)


def stored(name: str, kind: ObjectKind) -> StoredObject:
    return StoredObject(
        name=name,
        kind=kind,
        stored_bytes=1,
        first_part_bytes=1,
        stored_sha256="a" * 64,
        content_bytes=1,
        content_sha256="b" * 64,
    )


def manifest(names: list[str], collation: str, setting: str, recipient: str) -> Manifest:
    tables = [
        TableRecord(
            namespace=name, name=name, columns=(name, "id"),
            parts=(TablePart(object=f"{number}.zst", rows=1, bytes=1, sha256="c" * 64),),
        )
        for number, name in enumerate(names)
    ]  # fmt: skip
    return Manifest(
        backup_id="20261123T020004Z-7f3a91", source="shop", engine="postgres", started_at=NOW, snapshot_at=NOW,
        finished_at=NOW, tools={}, compression="zstd level 1",
        encryption=EncryptionRecord(method="gpg_recipients", recipients=(recipient,)),
        details=PostgresDetails(
            server_version="18.4", server_version_number=180004, system_identifier="1", snapshot_lsn="0/1",
            taken_from_standby=False, encoding="UTF8", python_codec="utf-8", large_objects=0, large_object_digest=None,
            sequences=0, extensions=(), roles=Roles(policies=(), owners=()),
            database={
                "encoding": "UTF8", "datcollate": collation,
                "settings": [{"role": setting, "settings": [f"search_path={setting}", f"my.x={setting}"]}],
            },
        ).written(),
        objects=(
            stored("schema.dump.zst", ObjectKind.SCHEMA), stored("globals.sql.zst", ObjectKind.GLOBALS),
            stored("sequences.sql.zst", ObjectKind.SEQUENCES),
            *(stored(f"{number}.zst", ObjectKind.TABLE) for number in range(len(names))),
        ),
        tables=tuple(tables),
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(hostile, max_size=4), hostile, hostile, hostile)
def test_no_name_becomes_a_part_of_the_script(names: list[str], collation: str, setting: str, recipient: str) -> None:
    """bash parses it, and sees the same commands with the same number of words as for harmless names."""
    script = render(manifest(names, collation, setting, recipient), "s3://bucket/prefix")
    harmless = render(manifest(["t"] * len(names), "C", "s", "r"), "s3://bucket/prefix")
    assert subprocess.run(["bash", "-n"], input=script.encode(), capture_output=True, check=False).stderr == b""
    assert words(script) == words(harmless)


def words(script: str) -> list[int]:
    """How many words each `load` has, as bash itself counts them, without what the rest of the script would do."""
    lines = script[script.index("\narchive=(") :]
    stubs = (
        "globals() { :; }; fetch() { :; }; script() { echo $#; }; load() { echo $#; }; sql() { :; };"
        "fail() { :; }; pg_restore() { :; }; target=t;"
        "contents() { :; }; post_data() { :; }; event_triggers() { :; }; work=/nonexistent;\n"
    )
    environment = {"OWNERS": "1", "PATH": "/nowhere"}
    answer = subprocess.run(["/bin/bash", "-c", stubs + lines], capture_output=True, check=False, env=environment)
    assert answer.returncode == 0, answer.stderr
    return [int(line) for line in answer.stdout.split() if line.isdigit()]


CONTENTS = b"""\
; Archive of nobody
; 1; 0 0 INDEX ATTACH is a comment
3300; 1259 16390 INDEX public foo_v alice
3301; 0 0 INDEX ATTACH public foo_1_v alice
3302; 1259 16391 TABLE public 9; 0 0 INDEX ATTACH public alice
3303; 1259 16392 INDEX public FK CONSTRAINT \xff alice
3304; 0 0 COMMENT public INDEX ATTACH alice
3305; 2606 16400 FK CONSTRAINT public foo foo_fkey alice
3306; 0 16401 MATERIALIZED VIEW DATA public ACL alice
3307; 0 0 INDEX ATTACH public COMMENT alice
3308; 3466 16402 EVENT TRIGGER - INDEX ATTACH alice
3309; 0 0 COMMENT - EVENT TRIGGER ACL alice
"""


def test_indexes_of_partitions_are_attached_alone_and_event_triggers_come_last(tmp_path: Path) -> None:
    """As by `post_data_steps`: names that look like types of entries are names."""
    assert steps(tmp_path, CONTENTS) == [
        ["--jobs=4", "3300", "3302", "3303"],
        ["--jobs=1", "3301", "3307"],
        ["--jobs=4", "3304", "3305", "3306"],
        ["3308", "3309"],
    ]


def test_without_partitions_nothing_is_attached(tmp_path: Path) -> None:
    assert steps(tmp_path, b"3300; 1259 16390 INDEX public foo_v alice\n") == [["--jobs=4", "3300"]]


def steps(directory: Path, contents: bytes) -> list[list[str]]:
    """What the script has pg_restore do after the rows have come, call after call: how many jobs, and which entries."""
    script = render(manifest([], "C", "s", "r"), "s3://bucket/prefix")
    function = script[script.index("\npost_data() {") : script.index("\ntables=")]
    (directory / "contents").write_bytes(contents)
    stub = """
        restore() {
            [[ $1 != -l ]] || { cat contents; return; }
            [[ $1 == -L ]] || { printf '%s' "$1"; shift; }
            LC_ALL=C sed -n 's/^\\([0-9]*\\);.*/ \\1/p' "$2" | tr -d '\\n'
            echo
        }
        set -euo pipefail
        archive=(restore) work=. JOBS=4
    """
    argv = ["bash", "-c", f"{stub}\n{function}\npost_data; event_triggers"]
    answer = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=True)
    return [line.split() for line in answer.stdout.splitlines()]
