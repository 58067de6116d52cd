"""The script that takes an import of rows back: plain psql, complete in itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.row_catalog import Trigger, refers
from backup_playbook.engines.postgres.row_staging import STATE, StagedTable, Staging, settable
from backup_playbook.engines.postgres.session import SETTINGS, set_statements

DIGEST = quoted("backup_playbook digest")

_HEAD = """\
-- Takes back what recover_deleted_rows wrote at {now:%Y-%m-%d %H:%M:%S} UTC:
--     psql -X -d <the production database> -f <this file>
-- Rows that somebody has changed since then, and rows that new rows refer to, stay as they are; so does what they need.
\\set ON_ERROR_STOP on
SET client_encoding = 'UTF8';
BEGIN;
{settings}
"""


def undo_script(staging: Staging, triggers: Sequence[Trigger]) -> bytes:
    """Within the transaction of the import, when everything is written. triggers: to be switched off again."""
    head = _HEAD.format(now=datetime.now(UTC), settings=set_statements(SETTINGS, local=True))
    parts = [head.encode()]
    for table in staging.tables:
        parts += [*_written(staging, table), *_replaced(staging, table)]
    tail = [trigger.switch("DISABLE") for trigger in triggers]
    tail += [*_put_back(staging), _prune(staging), _delete(staging)]
    tail += ["SET CONSTRAINTS ALL IMMEDIATE", *(trigger.switch(trigger.enable) for trigger in triggers), "COMMIT"]
    return b"".join([*parts, *(f"{statement};\n".encode() for statement in tail)])


def _written(staging: Staging, table: StagedTable) -> Iterator[bytes]:
    """Keys and digests of the rows as they are now; in the script, those that are still so."""
    keys = ", ".join(f"t.{quoted(name)}" for name in table.key)
    yield from _copied(
        staging,
        f"inserted_{table.name}",
        f"SELECT {keys}, {_digest(table)} AS {DIGEST} FROM {table.target} t",
        f"JOIN {table.name} s ON {table.same_key('s', 't')} WHERE s.{STATE} = 'missing'",
    )
    yield (
        f"DELETE FROM inserted_{table.name} s WHERE NOT EXISTS (SELECT FROM {table.target} t WHERE "
        f"{table.same_key('s', 't')} AND {_digest(table)} = s.{DIGEST});\n"
    ).encode()


def _replaced(staging: Staging, table: StagedTable) -> Iterator[bytes]:
    """Rows as they were before they were overwritten, with the digest of what they are now."""
    columns = ", ".join(f"r.{quoted(name)}" for name in table.live.stored)
    if _has_replaced(staging, table):
        yield from _copied(
            staging,
            f"replaced_{table.name}",
            f"SELECT {columns}, {_digest(table)} AS {DIGEST} FROM {table.target} t",
            f"JOIN replaced_{table.name} r ON {table.same_key('r', 't')}",
            as_from=f"{table.target} r, {table.target} t",
        )


def _copied(staging: Staging, name: str, select: str, rest: str, as_from: str = "") -> Iterator[bytes]:
    head = select if not as_from else f"{select[: select.rindex(' FROM ')]} FROM {as_from}"
    yield f"CREATE TEMP TABLE {name} ON COMMIT DROP AS {head} WITH NO DATA;\nCOPY {name} FROM stdin;\n".encode()
    query = f"COPY ({select} {rest}) TO STDOUT"
    with staging.live.cursor().copy(query.encode(staging.live.info.encoding)) as rows:
        for block in rows:
            yield bytes(block)
    yield b"\\.\n"


def _digest(table: StagedTable) -> str:
    values = ", ".join(f"t.{quoted(name)}" for name in table.live.stored)
    return f"md5(ROW({values})::text)"


def _prune(staging: Staging) -> str:
    """Leave rows in place that others refer to which stay, and so on until nothing more changes."""
    staged = {table.live.name: table for table in staging.tables}
    body = ""
    for link in staging.links:
        if parent := staged.get(link.parent):
            child = staged.get(link.child)
            going = (
                f" AND NOT EXISTS (SELECT FROM inserted_{child.name} i WHERE {child.same_key('i', 'c')})"
                if child
                else ""
            )
            body += (
                f"  DELETE FROM inserted_{parent.name} p WHERE EXISTS (SELECT FROM {quoted(*link.child)} c, "
                f"{parent.target} t WHERE {parent.same_key('t', 'p')} AND "
                f"{refers(link, 't', 'c')}{going});\n"
                "  GET DIAGNOSTICS kept = ROW_COUNT; total := total + kept;\n"
            )
    loop = f"DECLARE kept bigint; total bigint; BEGIN LOOP total := 0;\n{body}  EXIT WHEN total = 0; END LOOP; END"
    tag = "undo"
    while f"${tag}$" in loop:
        tag += "_"
    return f"DO ${tag}$ {loop} ${tag}$"


def _delete(staging: Staging) -> str:
    """In one statement, as they came: rows may refer to each other in a circle."""
    parts = [
        f"d{number} AS (DELETE FROM {table.target} t USING inserted_{table.name} s WHERE {table.same_key('s', 't')} "
        "RETURNING 1)"
        for number, table in enumerate(staging.tables)
    ]
    counts = " + ".join(f"(SELECT count(*) FROM d{number})" for number in range(len(parts)))
    return f"WITH {', '.join(parts)} SELECT {counts} AS deleted"


def _put_back(staging: Staging) -> Iterator[str]:
    for table in staging.tables:
        if _has_replaced(staging, table):
            values = ", ".join(f"{quoted(name)} = r.{quoted(name)}" for name in settable(table, table.live.stored))
            yield (
                f"UPDATE {table.target} t SET {values} FROM replaced_{table.name} r WHERE {table.same_key('r', 't')} "
                f"AND {_digest(table)} = r.{DIGEST}"
            )


def _has_replaced(staging: Staging, table: StagedTable) -> bool:
    return bool(staging.ask(f"SELECT FROM replaced_{table.name} LIMIT 1"))
