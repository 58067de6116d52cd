"""Deleted rows: one user with all that went along, against the playbook's way, which restores everything first."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bench.contestants import STREAMS, This, execute
from bench.measure import Contestant, race, ratio
from bench.report import MIB, Figure, Section
from bench.restore import COPY, playbook_restorer, taken
from bench.stand import BUCKET, Size, Stand
from include.sample import load

Say = Callable[[str], None]
USER = 17


class RowRecovery(Contestant):
    """Brings back a user who was deleted a moment before."""

    name = "this"
    what = "this project: found in the backup, previewed, imported into production, read back; undo script written"

    def __init__(self, stand: Stand, database: str, words: Sequence[str]) -> None:
        self._stand, self._database = stand, database
        self._argv = [sys.executable, "-m", "bench.recover_rows", "--table", "users", "--key", str(USER), *words]
        self.reports: list[dict[str, Any]] = []

    def before(self) -> None:
        with self._stand.postgres.connect(self._database) as connection:
            connection.execute("DELETE FROM users WHERE id = %s", [USER])
            connection.execute("CHECKPOINT")

    def run(self) -> None:
        self.reports.append(json.loads(execute(self.name, self._argv, self._stand.environment(self._database))))

    def after(self) -> int:
        """The scratch is dropped when the rows are back already: nobody waits for that."""
        if self.reports:
            self._stand.postgres.drop_database(self.reports[-1]["scratch"])
        return 0


def measure(stand: Stand, size: Size, say: Say) -> Section:
    say(f"loading the shop, scale {size.shop_scale:g} ...")
    with stand.database("shop", partial(load, scale=size.shop_scale)) as database:
        backup = This(stand, database)
        with taken(backup, say), playbook_restorer(stand, database, say) as playbook:
            words = ["--bucket", BUCKET, "--prefix", backup.prefix, "--backup-id", backup.reports[-1]["backup_id"]]
            this = RowRecovery(stand, database, [*words, "--streams", str(STREAMS)])
            series = race([playbook, this], size.restore_rounds, say)
    stand.postgres.drop_database(COPY)
    reports = this.reports[-size.restore_rounds :]
    figures = [
        Figure("row_recovery_vs_playbook", *ratio(series[playbook.name], series[this.name])),
        Figure("row_recovery_seconds", statistics.median(report["seconds"]["all"] for report in reports)),
    ]
    facts = {
        "rows that came back": str(reports[0]["rows"]),
        "read from the bucket": f"{reports[0]['bytes_read'] / MIB:.1f} MiB",
        **{
            f"{phase}, within the time of `this`": f"{statistics.median(it['seconds'][phase] for it in reports):.2f} s"
            for phase in ("create", "pre_data", "data")
        },
    }
    return Section("row_recovery", "Deleted rows of the shop", series, figures, facts)
