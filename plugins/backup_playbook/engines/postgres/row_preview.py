"""What an import would do, in words and numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from backup_playbook.core.masking import shortened
from backup_playbook.core.row_recovery import Preview, PreviewRow, State, TablePreview, label
from backup_playbook.engines.postgres.row_catalog import columns_of
from backup_playbook.engines.postgres.row_conflicts import ROWS_SHOWN, find_conflicts
from backup_playbook.engines.postgres.row_staging import STATE, StagedTable, Staging, texts_of


def make_preview(staging: Staging) -> Preview:
    """Decide on the way that rows are overwritten, too."""
    conflicts = [*staging.conflicts, *find_conflicts(staging)]
    return Preview(
        tables=tuple(_table(staging, table) for table in staging.tables),
        conflicts=tuple(conflicts),
        remarks=tuple(_remarks(staging)),
        fingerprint=_fingerprint(staging),
    )


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
    parents = {table.live.name for table in staging.tables}
    for link in staging.links:
        if link.parent in parents and link.on_delete.startswith("set "):
            yield (
                f"Where {label(link.child)} referred to these rows of {label(link.parent)}, the deletion did "
                f"{link.on_delete.upper()} ({link.name}): that is not undone."
            )
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
