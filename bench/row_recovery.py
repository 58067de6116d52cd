"""Deleted rows: one user with all that went along, against the playbook's way, which restores everything first."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg

from bench.contestants import STREAMS, This, execute
from bench.measure import Contestant, race, ratio
from bench.report import MIB, Figure, Section
from bench.restore import COPY, playbook_restorer, taken
from bench.stand import BUCKET, Size, Stand
from include.sample import load

Say = Callable[[str], None]
USER = 17
MANY = 100_000


class RowRecovery(Contestant):
    """Brings back rows of a table that were deleted a moment before, and what went along.

    deletion: a condition. words: the options of recover_rows.
    """

    name = "this"
    what = "this project: found in the backup, previewed, imported into production, read back; undo script written"

    def __init__(self, stand: Stand, database: str, table: str, deletion: str, words: Sequence[str]) -> None:
        self._stand, self._database = stand, database
        self._deletion = f"DELETE FROM {table} WHERE {deletion}"
        self._argv = [sys.executable, "-m", "bench.recover_rows", "--table", table, *words]
        self.reports: list[dict[str, Any]] = []

    def before(self) -> None:
        with self._stand.postgres.connect(self._database) as connection:
            connection.execute(self._deletion.encode())
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
            this = RowRecovery(stand, database, "users", f"id = {USER}", ["--key", str(USER), *_from(backup)])
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


def measure_many(stand: Stand, size: Size, say: Say) -> Section:
    """Many rows are compared, written and read back by the server alone: what it plans badly takes hours."""
    with stand.database("many", _load_many) as database:
        backup = This(stand, database)
        with taken(backup, say):
            deletion = f"id > {MANY // 5}"
            this = RowRecovery(stand, database, "parents", deletion, ["--where", deletion, *_from(backup)])
            series = race([this], size.restore_rounds, say)
    seconds = [report["seconds"]["all"] for report in this.reports[-size.restore_rounds :]]
    facts = {"rows that came back": f"{this.reports[0]['rows']:,}"}
    figures = [Figure("row_recovery_many_seconds", statistics.median(seconds))]
    return Section("row_recovery_many", "Many deleted rows with children", series, figures, facts)


def _load_many(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE parents (id int PRIMARY KEY, v text)")
        connection.execute("CREATE TABLE children (id int PRIMARY KEY, p int REFERENCES parents ON DELETE CASCADE)")
        connection.execute("CREATE INDEX ON children (p)")  # else the deletion alone takes minutes
        count = MANY + MANY // 5
        connection.execute(f"INSERT INTO parents SELECT i, md5(i::text) FROM generate_series(1, {count}) i".encode())
        connection.execute("INSERT INTO children SELECT id, id FROM parents")


def _from(backup: This) -> list[str]:
    words = ["--bucket", BUCKET, "--prefix", backup.prefix, "--backup-id", backup.reports[-1]["backup_id"]]
    return [*words, "--streams", str(STREAMS)]
