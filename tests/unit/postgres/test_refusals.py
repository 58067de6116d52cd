"""What pg_restore failed on, by the name by which it can be left out."""

import pytest

from backup_playbook.core.errors import ProcessFailedError, RestoreError
from backup_playbook.engines.postgres.refusals import explained

LINES = [
    b"3301; 2606 16400 FK CONSTRAINT public c c_p_fkey the owner",
    b"3302; 1259 16401 INDEX public c_v alice",
    b"3303; 0 16402 MATERIALIZED VIEW DATA my schema m alice",
    b"3304; 2606 16403 CONSTRAINT public c c_v_key alice",
    b"3305; 3466 16404 EVENT TRIGGER - log_ddl alice",
    b"3306; 0 0 INDEX ATTACH public c_v alice",
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
    with pytest.raises(RestoreError) as caught, explained("It failed", LINES):
        raise error
    assert caught.value.remedy.partition("with this line in `leave_out`: ")[2] == name
