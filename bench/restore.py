"""Restore: against the playbook's procedure and against pg_restore, into an empty database of the same server."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.contestants import STREAMS, This, execute, playbook
from bench.measure import Contestant, Series, peak_rss, race, ratio
from bench.report import MIB, Figure, Section
from bench.stand import BUCKET, Size, Stand
from include.sample import load

Say = Callable[[str], None]
COPY = "copy"
"""The database that is restored into."""
RSS_GROWTH_ALLOWED = 1.1
PRIMARY_KEYS_ONLY = """
DO $$
DECLARE command text;
BEGIN
  FOR command IN
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
    WHERE contype IN ('f', 'u', 'x') AND conparentid = 0 AND connamespace = 'public'::regnamespace
    ORDER BY contype
  LOOP EXECUTE command; END LOOP;
  FOR command IN
    SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
    WHERE NOT indisprimary AND NOT relispartition AND relnamespace = 'public'::regnamespace
  LOOP EXECUTE command; END LOOP;
END $$
"""


class Restorer(Contestant):
    """A program that fills the empty database COPY, which stays until the next one begins."""

    def __init__(self, stand: Stand, name: str, what: str, argv: Sequence[str], **environment: str) -> None:
        self.name, self.what = name, what
        self._stand, self._argv = stand, argv
        self._environment = {**stand.environment(COPY), **environment}
        self.outputs: list[str] = []

    def before(self) -> None:
        self._stand.postgres.drop_database(COPY)
        self._stand.postgres.create_database(COPY)
        self.checkpoint()

    def run(self) -> None:
        self.outputs.append(execute(self.name, self._argv, self._environment))

    def checkpoint(self) -> None:
        """What the one before left to write is not written in the time of this one."""
        with self._stand.postgres.connect() as connection:
            connection.execute("CHECKPOINT")


class Prover(Restorer):
    """Proves what the restorer before it has restored."""

    def before(self) -> None:
        self.checkpoint()


@dataclass(frozen=True)
class Restorers:
    """All from backups of the same database."""

    playbook: Restorer
    pg_restore: Restorer
    this: Restorer
    proof: Prover


def measure(stand: Stand, size: Size, say: Say) -> list[Section]:
    say(f"loading the shop, scale {size.shop_scale:g} ...")
    with stand.database("shop", partial(load, scale=size.shop_scale)) as database:
        with _restorers(stand, database, say) as restorers:
            contest = _contest(restorers, size, say)
            memory = _memory(restorers, say)
        with stand.postgres.connect(database) as connection:
            connection.execute(PRIMARY_KEYS_ONLY)
        with _restorers(stand, database, say) as restorers:
            data = _data(restorers, size, say)
    figures = [Figure("restore_peak_rss_mb", memory)]
    if size.large_scale is not None:
        say(f"loading the shop, scale {size.large_scale:g} ...")
        with (
            stand.database("large", partial(load, scale=size.large_scale)) as database,
            _restorers(stand, database, say) as restorers,
        ):
            large = _memory(restorers, say)
        figures.append(Figure("restore_peak_rss_4gb_mb", large, holds=large <= memory * RSS_GROWTH_ALLOWED))
    return [contest, data, Section("restore_memory", "Memory of a restore", figures=figures)]


def _contest(restorers: Restorers, size: Size, say: Say) -> Section:
    this, proof = restorers.this, restorers.proof
    series = race([restorers.playbook, restorers.pg_restore, this, proof], size.restore_rounds, say)
    ours = series[this.name]
    figures = [
        Figure("restore_vs_pg_restore", *ratio(ours, series["pg_restore"]), holds=max(ours.disk_bytes) <= MIB),
        Figure("restore_vs_playbook", *ratio(series["playbook"], ours)),
        Figure("proof_share", *ratio(_inside(proof, size), _inside(this, size))),
    ]
    return Section("restore", "Restore of the shop", series, figures, {**_phases(this, size), **_phases(proof, size)})


def _data(restorers: Restorers, size: Size, say: Say) -> Section:
    series = race([restorers.playbook, restorers.this], size.restore_rounds, say)
    figures = [Figure("restore_data_vs_playbook", *ratio(series["playbook"], series[restorers.this.name]))]
    title = "Restore of the shop without foreign keys and secondary indexes"
    return Section("restore_data", title, series, figures, _phases(restorers.this, size))


def _phases(this: Restorer, size: Size) -> dict[str, str]:
    """Medians of what one of our own programs says of itself."""
    reports = _reports(this, size)
    return {
        f"{phase}, within the time of `{this.name}`": f"{statistics.median(report[phase] for report in reports):.2f} s"
        for phase in reports[0]
    }


def _inside(this: Restorer, size: Size) -> Series:
    """Without the start of Python, which a restore with its proof needs once."""
    return Series(this.what, [sum(report.values()) for report in _reports(this, size)])


def _reports(this: Restorer, size: Size) -> list[dict[str, float]]:
    return [json.loads(output) for output in this.outputs[-size.restore_rounds :]]


def _memory(restorers: Restorers, say: Say) -> float:
    say("watching memory ...")
    return max(peak_rss(restorers.this), peak_rss(restorers.proof)) / MIB


@contextmanager
def _restorers(stand: Stand, database: str, say: Say) -> Iterator[Restorers]:
    """Take the backups that are restored, and remove them at the end."""
    say("taking the backups that will be restored ...")
    stored, script, dump = This(stand, database), playbook(stand, database), stand.scratch / "dump"
    try:
        for backup in (stored, script):
            backup.run()
        jobs = f"--jobs={STREAMS}"
        environment = stand.environment(database)
        execute("pg_dump", ["pg_dump", "-Fd", jobs, f"--file={dump}", environment["DATABASE_URL"]], environment)
        yield _from_backups(stand, stored, script.prefix, dump)
    finally:
        stored.after()
        script.after()
        shutil.rmtree(dump, ignore_errors=True)
        stand.postgres.drop_database(COPY)


def _from_backups(stand: Stand, stored: This, script_prefix: str, dump: Path) -> Restorers:
    (listed,) = stand.s3.client().list_objects_v2(Bucket=BUCKET, Prefix=f"{script_prefix}/")["Contents"]
    words = ["--bucket", BUCKET, "--prefix", stored.prefix, "--backup-id", stored.reports[-1]["backup_id"]]
    ours = [*words, "--streams", str(STREAMS)]
    program = [sys.executable, "-m", "bench.restore_backup"]
    return Restorers(
        Restorer(
            stand,
            "playbook",
            "the playbook's procedure: `aws s3 cp; gunzip; psql <`",
            ["bash", str(Path(__file__).with_name("playbook_restore.sh"))],
            S3_TARGET=f"s3://{BUCKET}/{script_prefix}",
            BACKUP=listed["Key"].rpartition("/")[2],
        ),
        Restorer(
            stand,
            "pg_restore",
            f"`pg_restore -j {STREAMS}` from a directory of `pg_dump -Fd` on the local disk",
            ["bash", "-c", f'pg_restore -j {STREAMS} -e -d "$DATABASE_URL" "$DUMP"'],
            DUMP=str(dump),
        ),
        Restorer(
            stand, "this", f"this project: {STREAMS} at once from S3, everything verified", [*program, "restore", *ours]
        ),
        Prover(stand, "proof", f"the proof of what `this` restored: {STREAMS} at once", [*program, "prove", *ours]),
    )
