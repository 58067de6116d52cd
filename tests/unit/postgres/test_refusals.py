"""What pg_restore failed on, by the name by which it can be left out."""

import pytest

from backup_playbook.core.errors import ProcessFailedError, RestoreError
from backup_playbook.engines.postgres.refusals import explained
from backup_playbook.engines.postgres.table_of_contents import Entry


def entry(number: int, kind: bytes, namespace: bytes, tag: bytes) -> Entry:
    return Entry(number, kind, namespace, tag, b"", "post-data", b"alice", b"", b"", ())


ENTRIES = [
    entry(3301, b"FK CONSTRAINT", b"public", b"c c_p_fkey"),
    entry(3302, b"INDEX", b"public", b"c_v"),
    entry(3303, b"MATERIALIZED VIEW DATA", b"my schema", b"m"),
    entry(3304, b"CONSTRAINT", b"public", b"c c_v_key"),
    entry(3305, b"EVENT TRIGGER", b"", b"log_ddl"),
    entry(3306, b"INDEX ATTACH", b"public", b"c_v"),
]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("from TOC entry 3304; 2606 16403 CONSTRAINT c c_v_key alice", "CONSTRAINT public c c_v_key"),
        (
            "Command was: ALTER TABLE ONLY public.c\n    ADD CONSTRAINT c_v_key UNIQUE (v);",
            "CONSTRAINT public c c_v_key",
        ),
        ("Command was: CREATE UNIQUE INDEX c_v ON public.c USING btree (v);", "INDEX public c_v"),
        ('Command was: REFRESH MATERIALIZED VIEW "my schema".m;', "MATERIALIZED VIEW DATA my schema m"),
        ("Command was: CREATE EVENT TRIGGER log_ddl ON ddl_command_end", "EVENT TRIGGER - log_ddl"),
        ("from TOC entry 3306; 0 0 INDEX ATTACH c_v alice", ""),
        ("Command was: CREATE TABLE x (i int);", ""),
    ],
)
def test_what_can_be_left_out_is_named(said: str, name: str) -> None:
    error = ProcessFailedError("pg_restore", 1, f"pg_restore: error: could not execute query: ERROR: no\n{said}")
    with pytest.raises(RestoreError) as caught, explained("It failed", ENTRIES):
        raise error
    assert caught.value.remedy.partition("with this line in `leave_out`: ")[2] == name
