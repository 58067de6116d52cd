"""Output of a Postgres server and its client programs, without the values of rows: fit for logs and messages.

Values stand in quotes, after a colon, in DETAIL and CONTEXT; the words around them may be of any language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from backup_playbook.core.masking import HIDDEN

PROGRAMS = ("psql", "pg_dump", "pg_dumpall", "pg_restore")

_QUOTES = '["«»„“”「]'
_NAMED = r'\b(?:column|relation|table|type|domain|encoding|constraint|parameter|function) "[^"\n]*"'
_QUOTED = re.compile(rf"({_NAMED})|{_QUOTES}.*(?:{_QUOTES}|」)", re.DOTALL)
# of a class of errors that is about values
_DATA_ERRORS = "22"

_HIDDEN_FIELD = re.compile(r"(?:DETAIL|CONTEXT):  (.*)")
_OTHER_FIELD = re.compile(r"(?:HINT|QUERY|LOCATION):  |LINE \d+: |Command was: ")
_FROM_PROGRAM = re.compile(r"(?:psql|pg_\w+):")
# ERROR, or what it is in the language of the server
_SEVERITY = re.compile(r"(?:(?:psql|pg_\w+):.*?: )?[^\W\d_a-z]{3,}:  ")
_VALUE = re.compile(rf"(\bvalue |^(?=\S+ is out of range)){_QUOTES}.*{_QUOTES}")
_VALUE_AT_END = re.compile(rf"(: ?|\bvalue )\s?{_QUOTES}.*")
_PLACE = re.compile(r"COPY .+?, line \d+(?:, column [^:]+)?|(?:PL/\w+|SQL) function .+")


def message(primary: str, sqlstate: str | None) -> str:
    """First words of an error of psycopg."""
    if not (sqlstate or "").startswith(_DATA_ERRORS):
        return primary
    return _QUOTED.sub(lambda found: found[1] or HIDDEN, primary)


def place(context: str) -> str:
    """Line of a table, and function, that a CONTEXT names."""
    return ", ".join(found[0] for line in context.splitlines() if (found := _PLACE.match(line)))


def shown(lines: Sequence[str]) -> list[str]:
    """Lines of an error that people may see."""
    words = ServerWords()
    return [found for line in lines if (found := words(line)) is not None]


class ServerWords:
    """Filter of a program's output, line by line: returns the part to show, or None. Values may have lines."""

    def __init__(self) -> None:
        self._hiding = False

    def __call__(self, line: str) -> str | None:
        """Part of a line to show; None when there is none."""
        if found := _HIDDEN_FIELD.match(line):
            self._hiding = True
            line = found[1] if line.startswith("CONTEXT") else ""
        elif _OTHER_FIELD.match(line):
            self._hiding = False
        elif found := _SEVERITY.match(line):
            words = _VALUE.sub(rf"\g<1>{HIDDEN}", line[found.end() :])
            said = _VALUE_AT_END.sub(rf"\g<1>{HIDDEN}", words)
            self._hiding = said != words
            return found[0] + said
        elif _FROM_PROGRAM.match(line):
            self._hiding = False
        if not self._hiding:
            return line
        return f"CONTEXT:  {where}" if (where := place(line)) else None
