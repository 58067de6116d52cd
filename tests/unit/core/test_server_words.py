"""What servers say is shown without the values of rows, whatever their language; what else they say stays."""

import pytest

from backup_playbook.core.server_words import message, place, shown


@pytest.mark.parametrize(
    ("primary", "sqlstate", "expected"),
    [
        ('invalid input syntax for type integer: "Erika\n"M"."', "22P02", "invalid input syntax for type integer: ***"),
        ("ungültige Eingabesyntax für Typ integer: »Erika«", "22P02", "ungültige Eingabesyntax für Typ integer: ***"),
        ('value "99" is out of range for type integer', "22003", "value *** is out of range for type integer"),
        ('missing data for column "b"', "22P04", 'missing data for column "b"'),
        ('relation "t" does not exist', "42P01", 'relation "t" does not exist'),
    ],
)
def test_messages(primary: str, sqlstate: str, expected: str) -> None:
    assert message(primary, sqlstate) == expected


def test_places() -> None:
    words = (
        "SQL statement \"SELECT 'Erika'\"",
        "PL/pgSQL function f() line 3 at RAISE",
        'COPY t, line 2, column a: "E',
    )
    assert place("\n".join(words)) == "PL/pgSQL function f() line 3 at RAISE, COPY t, line 2, column a"


PRINTED = """\
pg_restore: error: could not execute query: FEHLER:  Einfügen in Tabelle »c« verletzt Fremdschlüssel »c_p_fkey«
DETAIL:  Schlüssel (mail)=(Erika
Mustermann) ist nicht in Tabelle »p« vorhanden.
Command was: ALTER TABLE ONLY public.c
    ADD CONSTRAINT c_p_fkey FOREIGN KEY (mail) REFERENCES public.p(mail);
psql:<stdin>:4: ERROR:  invalid input syntax for type integer: "Erika
Mustermann"
CONTEXT:  SQL function "f" statement 1
COPY t, line 1: "Erika
Mustermann"
HINT:  Look.
ERROR:  value "4711" is out of range for type smallint
ERROR:  "4711e999" is out of range for type real
ERROR:  "t" is not a table
pg_dump: detail: Query was: COPY public.t (a) TO stdout;
psql: error: connection to server at "127.0.0.1", port 1 failed: FATAL:  database "shop" does not exist
"""


def test_programs() -> None:
    said = shown(PRINTED.splitlines())
    assert [line for line in said if "Erika" in line or "Muster" in line or "4711" in line] == []
    assert said == [
        *(PRINTED.splitlines()[number] for number in (0, 3, 4)),
        "psql:<stdin>:4: ERROR:  invalid input syntax for type integer: ***",
        'CONTEXT:  SQL function "f" statement 1',
        "CONTEXT:  COPY t, line 1",
        "HINT:  Look.",
        "ERROR:  value *** is out of range for type smallint",
        "ERROR:  *** is out of range for type real",
        *PRINTED.splitlines()[-3:],
    ]
