"""Script that takes an import of rows back: plain psql, complete in itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from backup_playbook.core.row_tables import ForeignKey
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.row_catalog import Trigger, columns_of, read_shape, refers, rows_of
from backup_playbook.engines.postgres.row_staging import STATE, StagedTable, Staging
from backup_playbook.engines.postgres.row_writing import Overwriting, all_gone, park
from backup_playbook.engines.postgres.session import SETTINGS, set_statements

_COUNT = "  GET DIAGNOSTICS kept = ROW_COUNT; total := total + kept;\n"
DIGEST = quoted("backup_playbook digest")

_HEAD = """\
-- Takes back what recover_deleted_rows wrote at {now:%Y-%m-%d %H:%M:%S} UTC:
--     psql -X -d <the production database> -f <this file>
-- Rows that somebody has changed since then, and rows that new rows refer to, stay as they are; so does what they need.
\\set ON_ERROR_STOP on
SET client_encoding = '{encoding}';
BEGIN;
SET TRANSACTION READ WRITE;
{settings}
"""


def undo_script(staging: Staging, triggers: Sequence[Trigger]) -> bytes:
    """Write the script within the transaction of the import, when all else is written; in the session's encoding.

    triggers: to be switched off again.
    """
    info = staging.live.info
    settings = set_statements(SETTINGS, local=True)
    head = _HEAD.format(now=datetime.now(UTC), settings=settings, encoding=info.parameter_status("client_encoding"))
    parts = [head.encode()]
    for table in staging.tables:
        parts += [*_written(staging, table), *_replaced(staging, table)]
    statements = [trigger.switch("DISABLE") for trigger in triggers]
    statements += [_prune(staging), *_park(staging), _take_back(staging), "SET CONSTRAINTS ALL IMMEDIATE"]
    statements += [*(trigger.switch(trigger.enable) for trigger in triggers), "COMMIT"]
    return b"".join([*parts, *(f"{statement};\n".encode(info.encoding) for statement in statements)])


def _written(staging: Staging, table: StagedTable) -> Iterator[bytes]:
    """Keys and digests of the rows as they are now; in the script, those that are still so."""
    rows = f"{table.rows} t JOIN {table.name} s ON {table.same_key('s', 't')} WHERE s.{STATE} = 'missing'"
    yield from _copied(staging, table, "inserted", columns_of("t", table.key), rows, f"{table.rows} t")


def _replaced(staging: Staging, table: StagedTable) -> Iterator[bytes]:
    """Rows as they were before they were overwritten, with the digest of what they are now."""
    if _has_replaced(staging, table):
        rows = f"{table.rows} t JOIN replaced_{table.name} r ON {table.same_key('r', 't')}"
        columns = columns_of("r", table.live.stored)
        yield from _copied(staging, table, "replaced", columns, rows, f"{table.rows} r, {table.rows} t")


def _copied(staging: Staging, table: StagedTable, kind: str, columns: str, rows: str, types: str) -> Iterator[bytes]:
    """Temporary table with the columns of `rows` and their digest, without rows changed since; types: for its types."""
    codec, name = staging.live.info.encoding, f"{kind}_{table.name}"
    digest = f"md5(ROW({columns_of('t', table.live.stored)})::text)"
    select = f"SELECT {columns}, {digest} AS {DIGEST} FROM"
    yield (
        f"CREATE TEMP TABLE {name} ON COMMIT DROP AS {select} {types} WITH NO DATA;\nCOPY {name} FROM stdin;\n"
    ).encode(codec)
    with staging.live.cursor().copy(f"COPY ({select} {rows}) TO STDOUT".encode(codec)) as copy:
        for block in copy:
            yield bytes(block)
    yield (
        f"\\.\nDELETE FROM {name} s WHERE NOT EXISTS (SELECT FROM {table.rows} t WHERE "
        f"{table.same_key('s', 't')} AND {digest} = s.{DIGEST});\nANALYZE {name};\n"
    ).encode(codec)


def _prune(staging: Staging) -> str:
    """Leave rows in place that others refer to which stay as they are, and so on until nothing more changes."""
    staged = {table.live.name: table for table in staging.tables}
    body = ""
    for link in staging.links:
        if parent := staged.get(link.parent):
            shape, going = read_shape(staging.live, link.child), ""
            assert shape
            if child := staged.get(link.child):
                names = [f"inserted_{child.name}", *[f"replaced_{child.name}"] * _has_replaced(staging, child)]
                going = "".join(f" AND NOT EXISTS (SELECT FROM {n} i WHERE {child.same_key('i', 'c')})" for n in names)
            body += (
                f"  DELETE FROM inserted_{parent.name} p WHERE EXISTS (SELECT FROM {rows_of(shape)} c, "
                f"{parent.rows} t WHERE {parent.same_key('t', 'p')} AND "
                f"{refers(link, 't', 'c')}{going});\n"
                f"{_COUNT}"
            )
            if link.on_update != "cascade" and _has_replaced(staging, parent):
                body += f"  {_prune_replaced(parent, link, rows_of(shape), going)};\n{_COUNT}"
    loop = f"DECLARE kept bigint; total bigint; BEGIN LOOP total := 0;\n{body}  EXIT WHEN total = 0; END LOOP; END"
    tag = "undo"
    while f"${tag}$" in loop:
        tag += "_"
    return f"DO ${tag}$ {loop} ${tag}$"


def _prune_replaced(parent: StagedTable, link: ForeignKey, children: str, going: str) -> str:
    """Leave values in place that rows refer to now, unless another row gets them."""
    replaced = f"replaced_{parent.name}"
    changed = " OR ".join(f"t.{quoted(n)} IS DISTINCT FROM p.{quoted(n)}" for n in link.parent_columns)
    if link.on_update == "no action":
        going += f" AND NOT EXISTS (SELECT FROM {replaced} q WHERE {refers(link, 'q', 'c')})"
    return (
        f"DELETE FROM {replaced} p WHERE EXISTS (SELECT FROM {children} c, {parent.rows} t "
        f"WHERE {parent.same_key('t', 'p')} AND ({changed}) AND {refers(link, 't', 'c')}{going})"
    )


def _park(staging: Staging) -> Iterator[str]:
    for table in staging.tables:
        if (constraints := staging.parked.get(table.name)) and _has_replaced(staging, table):
            replaced = f"replaced_{table.name}"
            yield park(table, constraints, replaced, replaced)


def _take_back(staging: Staging) -> str:
    """Take all rows back in one statement, as they came: they may refer to each other in a circle."""
    back = [
        Overwriting(table, number, staging.way(table), f"replaced_{table.name} r", "r", table.live.stored)
        for number, table in enumerate(staging.tables)
        if _has_replaced(staging, table)
    ]
    deletions = [
        f"d{number} AS (DELETE FROM {table.rows} t USING inserted_{table.name} s WHERE {table.same_key('s', 't')} "
        "RETURNING 1)"
        for number, table in enumerate(staging.tables)
    ]
    inserted = " + ".join(f"(SELECT count(*) FROM d{number})" for number in range(len(deletions)))
    written = " + ".join(f"(SELECT count(*) FROM u{item.number})" for item in back) or "0"
    deletions += [part for item in back if (part := item.deletion)]
    parts = [*deletions, *(item.writing(all_gone(deletions)) for item in back)]
    return f"WITH {', '.join(parts)} SELECT {inserted} AS deleted, {written} AS put_back"


def _has_replaced(staging: Staging, table: StagedTable) -> bool:
    return bool(staging.ask(f"SELECT FROM replaced_{table.name} LIMIT 1"))
