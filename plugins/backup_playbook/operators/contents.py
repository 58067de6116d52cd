"""The content of a backup, without a restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from backup_playbook.core.masking import masked
from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.operators.base import texts
from backup_playbook.operators.restore import RestoreStep

TABLES_SHOWN = 1000


class ListContents(RestoreStep):
    """List the tables of a backup; of one table, its objects and keys; rows by key.

    :param table: one table; empty: all.
    :param keys: of rows of this table.
    """

    carries = False
    template_fields: Sequence[str] = ("given", "table", "keys")

    def __init__(self, *, table: str = "", keys: Sequence[str] | str = (), **arguments: Any) -> None:
        super().__init__(**arguments)
        self.table = table
        self.keys = keys

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - passed by name
        """Read the backup; return tables, and rows without confidential values."""
        table, keys = self.table, texts(self.keys)
        if keys and not table:
            raise RowRecoveryError("The form names keys and no table.", "Say in which table they are looked for.")
        with self.reader() as reader:
            records, rows = self.access.contents(reader, table, keys, self.cancellation)
        tables = [
            {
                "table": f"{record.namespace}.{record.name}",
                "rows": record.rows,
                "bytes": record.bytes,
                "key": list(record.key),
                "parts": [
                    [part.object, part.rows, *(masked(end, *record.key[:1]) for end in (part.key_min, part.key_max))]
                    for part in record.parts
                ],
            }
            for record in records[:TABLES_SHOWN]
        ]
        for one in tables:
            self.log.info("%s: %d rows, %d bytes, key %s", one["table"], one["rows"], one["bytes"], one["key"])
        if keys:
            # logs go to more people than the result
            self.log.info(
                "%d of %d keys are in it, as they are written there. Their rows are in this task's XCom.",
                len(rows),
                len(keys),
            )
        return {"backup_id": self.handoff.backup_id, "tables": tables, "rows": [masked(row) for row in rows]}
