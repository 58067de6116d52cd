"""Preview of an import, in words and numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from psycopg import errors

from backup_playbook.core.masking import shortened
from backup_playbook.core.row_recovery import Preview, PreviewRow, State, TablePreview
from backup_playbook.core.row_tables import ForeignKey, label
from backup_playbook.core.words import counted
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.row_catalog import columns_of
from backup_playbook.engines.postgres.row_conflicts import ROWS_SHOWN, find_conflicts
from backup_playbook.engines.postgres.row_staging import STATE, StagedTable, Staging, texts_of

SECONDS_TO_COUNT = 5


def make_preview(staging: Staging) -> Preview:
    """Make the preview, and decide on the way that rows are overwritten."""
    conflicts = [*staging.conflicts, *find_conflicts(staging)]
    cut = {link: count for link in _cut(staging) if (count := _count_cut(staging, link))}
    return Preview(
        tables=tuple(_table(staging, table) for table in staging.tables),
        conflicts=tuple(conflicts),
        remarks=(*(_of_cut(link, count) for link, count in cut.items()), *_remarks(staging)),
        fingerprint=_fingerprint(staging),
        cut=tuple(_columns(link) for link in cut),
    )


def _cut(staging: Staging) -> Iterator[ForeignKey]:
    """Foreign keys by which the deletion has changed rows that referred to missing ones."""
    for table in staging.tables:
        links = [link for link in staging.links if link.parent == table.live.name and link.on_delete.startswith("set ")]
        if links and staging.ask(f"SELECT FROM {table.name} WHERE {STATE} = 'missing' LIMIT 1"):
            yield from links


def _columns(link: ForeignKey) -> str:
    return f"{label(link.child)}: {', '.join(link.child_columns)}"


def _of_cut(link: ForeignKey, count: str) -> str:
    return (
        f"{count} of {label(link.child)} without a value of {', '.join(link.child_columns)} now. "
        f"Among them are those that referred to these rows of {label(link.parent)}, as the deletion did "
        f"{link.on_delete.upper()} ({link.name}): that is not undone. What they referred to stands in the backup: "
        "list_backup_contents with their keys."
    )


def _count_cut(staging: Staging, link: ForeignKey) -> str:
    """Count rows in words; empty: none. Production alone is asked: a backup would have to be read to its end."""
    lost = " OR ".join(f"{quoted(name)} IS NULL" for name in link.child_columns)
    try:
        with staging.live.transaction(force_rollback=True):
            staging.do(f"SET LOCAL statement_timeout = '{SECONDS_TO_COUNT}s'")
            [(count,)] = staging.ask(f"SELECT count(*) FROM {quoted(*link.child)} WHERE {lost}")
    except (errors.QueryCanceled, errors.InsufficientPrivilege):
        return "Nobody has counted the rows"
    return f"There {'is' if count == 1 else 'are'} {counted(count, 'row')}" if count else ""


def _table(staging: Staging, table: StagedTable) -> TablePreview:
    counts: dict[State, int] = dict(staging.ask(f"SELECT {STATE}, count(*) FROM {table.name} GROUP BY 1"))
    shown = staging.ask(
        f"SELECT {texts_of('s', table.key)}, s.{STATE}, {texts_of('s', table.columns)} FROM {table.name} s "
        f"ORDER BY s.{STATE} = 'equal', {columns_of('s', table.key)} LIMIT {ROWS_SHOWN}"
    )
    rows = [
        PreviewRow(
            key=shortened(staging.in_words(table.key, key)),
            state=state,
            values=shortened(staging.in_words(table.columns, values)),
        )
        for key, state, values in shown
    ]
    return TablePreview(table=table.live.label, counts=counts, rows=tuple(rows))


def _remarks(staging: Staging) -> Iterator[str]:
    for table in staging.tables:
        if oids := [name for name in table.columns if table.live.columns[name].type == "oid"]:
            yield f"{table.live.label}: large objects that {', '.join(oids)} may name are not brought back."
        if staging.way(table) == "anew":
            yield (
                f"{table.live.label}: rows are overwritten by being deleted and inserted, in one statement: they "
                "exchange unique values, or get back an identity that cannot be updated."
            )


def _fingerprint(staging: Staging) -> str:
    digest = hashlib.sha256()
    for table in staging.tables:
        rows = staging.ask(
            f"SELECT md5(string_agg(part, ',' ORDER BY part)) FROM (SELECT md5({table.row('s')} || s.{STATE} || "
            f"coalesce({table.row('t')}, '')) AS part FROM {table.name} s LEFT JOIN {table.rows} t "
            f"ON {table.same_key('s', 't')}) parts"
        )
        digest.update(f"{table.live.label} {rows}".encode())
    return digest.hexdigest()
