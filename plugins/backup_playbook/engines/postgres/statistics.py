"""The planner's statistics of a restored copy: no backup holds them, and what goes live without them is slow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from backup_playbook.streams.parallel import Job, run_jobs
from backup_playbook.streams.processes import Cancellation

log = logging.getLogger(__name__)

Connect = Callable[[], AbstractContextManager[Connection[TupleRow]]]

# largest first; partitions only where ANALYZE of what they belong to can leave them out
_COMMANDS = """
SELECT pg_catalog.format(%s, n.nspname, c.relname) FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND (%s OR NOT c.relispartition)
ORDER BY pg_catalog.pg_relation_size(c.oid) DESC, 1
"""


def analyze(connect: Connect, codec: str, streams: int, cancellation: Cancellation) -> None:
    """Have the server look at every table, `streams` at once. codec: of the names.

    A table that cannot be analysed, such as for a function in an index, is logged.
    """
    with connect() as connection:
        alone = connection.info.server_version >= 180_000
        command = "ANALYZE ONLY %I.%I" if alone else "ANALYZE %I.%I"
        found = connection.execute(_COMMANDS, [command, alone]).fetchall()
    waiting = iter(found)

    def take_turns() -> None:
        with connect() as connection:
            for (command,) in waiting:
                cancellation.check()
                _run(connection, command, codec)

    run_jobs([Job(0, take_turns)] * streams, streams, cancellation)


def _run(connection: Connection[TupleRow], command: str, codec: str) -> None:
    try:
        connection.execute(command.encode(codec))
    except psycopg.Error as error:
        if connection.closed:
            raise
        log.warning(
            "The planner knows nothing of a table, which is restored all the same: %s Run this when it is corrected: "
            "%s", error, command,
        )  # fmt: skip
