"""Values of sequences, as a backup writes them: one setval() statement each."""

from __future__ import annotations

import re
from collections.abc import Iterator

from psycopg import Connection
from psycopg.rows import TupleRow

from backup_playbook.core.errors import VerificationError
from backup_playbook.engines.postgres.inventory import Sequence, literal, quoted

SEQUENCES_PER_QUERY = 200

# names may have line breaks, and what looks like the end of a statement
_LITERAL = r"'(?:[^']|'')*'| E'(?:[^'\\]|''|\\\\)*'"
_STATEMENT = re.compile(rf"SELECT pg_catalog\.setval\(({_LITERAL}), (-?\d+), (true|false)\);\n")


def setval_lines(connection: Connection[TupleRow], sequences: list[Sequence]) -> Iterator[str]:
    """Read the values, and write their statements."""
    for start in range(0, len(sequences), SEQUENCES_PER_QUERY):
        batch = sequences[start : start + SEQUENCES_PER_QUERY]
        query = " UNION ALL ".join(
            f"SELECT {number}, last_value, is_called FROM {quoted(item.namespace, item.name)}"
            for number, item in enumerate(batch)
        )
        for number, value, called in connection.execute(query.encode(connection.info.encoding)).fetchall():
            name = sequence_literal(batch[number].namespace, batch[number].name)
            yield f"SELECT pg_catalog.setval({name}, {value}, {'true' if called else 'false'});\n"


def sequence_literal(namespace: str, name: str) -> str:
    """Name of a sequence in its statement."""
    return literal(quoted(namespace, name))


def read_setval_lines(text: str) -> dict[str, str]:
    """Read statements by the literal that names their sequence. Raises VerificationError for anything else."""
    found = {}
    end = 0
    for match in _STATEMENT.finditer(text):
        if match.start() != end:
            break
        found[match[1]], end = match[0], match.end()
    if end != len(text):
        raise VerificationError(
            f"The sequences of this backup hold something else than setval(): {text[end : end + 100]!r}.",
            "Use another backup, or the off-site copy, and find out who wrote to the bucket.",
        )
    return found
