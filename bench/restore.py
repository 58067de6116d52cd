"""Restore: against the playbook's procedure and against pg_restore, into an empty database of the same server."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.contestants import STREAMS, Program, This, execute, playbook
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


def measure(stand: Stand, size: Size, say: Say) -> list[Section]:
    say(f"loading the shop, scale {size.shop_scale:g} ...")
    with stand.database("shop", partial(load, scale=size.shop_scale)) as database:
        contest, memory = _contest(stand, database, size, say)
        with stand.postgres.connect(database) as connection:
            connection.execute(PRIMARY_KEYS_ONLY)
        data = _data(stand, database, size, say)
    figures = [Figure("restore_peak_rss_mb", memory)]
    if size.large_scale is not None:
        say(f"loading the shop, scale {size.large_scale:g} ...")
        with (
            stand.database("large", partial(load, scale=size.large_scale)) as database,
            _ours(stand, database, say) as (this, proof),
        ):
            large = _memory(this, proof, say)
        figures.append(Figure("restore_peak_rss_4gb_mb", large, holds=large <= memory * RSS_GROWTH_ALLOWED))
    return [contest, data, Section("restore_memory", "Memory of a restore", figures=figures)]


def _contest(stand: Stand, database: str, size: Size, say: Say) -> tuple[Section, float]:
    """And the peak of memory, in MiB."""
    with _ours(stand, database, say) as (this, proof), playbook_restorer(stand, database, say) as playbook_restore:
        with _pg_restore(stand, database, say) as pg_restore:
            series = race([playbook_restore, pg_restore, this, proof], size.restore_rounds, say)
        memory = _memory(this, proof, say)
    ours = series[this.name]
    figures = [
        Figure("restore_vs_pg_restore", *ratio(ours, series["pg_restore"]), holds=max(ours.disk_bytes) <= MIB),
        Figure("restore_vs_playbook", *ratio(series["playbook"], ours)),
        Figure("proof_share", *ratio(_inside(proof, size), _inside(this, size))),
    ]
    facts = {**_phases(this, size), **_phases(proof, size)}
    return Section("restore", "Restore of the shop", series, figures, facts), memory


def _data(stand: Stand, database: str, size: Size, say: Say) -> Section:
    with _ours(stand, database, say) as (this, _), playbook_restorer(stand, database, say) as playbook_restore:
        series = race([playbook_restore, this], size.restore_rounds, say)
    figures = [Figure("restore_data_vs_playbook", *ratio(series["playbook"], series[this.name]))]
    title = "Restore of the shop without foreign keys and secondary indexes"
    return Section("restore_data", title, series, figures, _phases(this, size))


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


def _memory(this: Restorer, proof: Prover, say: Say) -> float:
    say("watching memory ...")
    peak = max(peak_rss(this), peak_rss(proof)) / MIB
    say(f"peak of restore and proof: {peak:.0f} MiB")
    return peak


# the restorers, each with a backup of its own kind, which is removed at the end


@contextmanager
def _ours(stand: Stand, database: str, say: Say) -> Iterator[tuple[Restorer, Prover]]:
    backup = This(stand, database)
    with taken(backup, say):
        program = [sys.executable, "-m", "bench.restore_backup"]
        words = ["--bucket", BUCKET, "--prefix", backup.prefix, "--backup-id", backup.reports[-1]["backup_id"]]
        words += ["--streams", str(STREAMS)]
        what = f"this project: {STREAMS} at once from S3, every byte verified"
        this = Restorer(stand, "this", what, [*program, "restore", *words])
        what = f"the proof of what `this` restored: {STREAMS} at once"
        yield this, Prover(stand, "proof", what, [*program, "prove", *words])
    stand.postgres.drop_database(COPY)


@contextmanager
def playbook_restorer(stand: Stand, database: str, say: Say) -> Iterator[Restorer]:
    backup = playbook(stand, database)
    with taken(backup, say):
        (listed,) = stand.s3.client().list_objects_v2(Bucket=BUCKET, Prefix=f"{backup.prefix}/")["Contents"]
        yield Restorer(
            stand,
            "playbook",
            "the playbook's procedure: `aws s3 cp; gunzip; psql <`",
            ["bash", str(Path(__file__).with_name("playbook_restore.sh"))],
            S3_TARGET=f"s3://{BUCKET}/{backup.prefix}",
            BACKUP=listed["Key"].rpartition("/")[2],
        )


@contextmanager
def taken(backup: Program, say: Say) -> Iterator[None]:
    say(f"taking the backup of {backup.name} ...")
    try:
        backup.run()
        yield
    finally:
        backup.after()


@contextmanager
def _pg_restore(stand: Stand, database: str, say: Say) -> Iterator[Restorer]:
    say("taking the backup of pg_restore ...")
    dump, environment = stand.scratch / "dump", stand.environment(database)
    dump_command = ["pg_dump", "-Fd", f"--jobs={STREAMS}", f"--file={dump}", environment["DATABASE_URL"]]
    # without the planner's statistics a restored database is slow: ours has them, too
    analyze_command = f'vacuumdb -q -j {STREAMS} --analyze-only -d "$DATABASE_URL"'
    restore_command = f'pg_restore -j {STREAMS} -e -d "$DATABASE_URL" "$DUMP" && {analyze_command}'
    what = (
        f"`pg_restore -j {STREAMS}` from a directory of `pg_dump -Fd` on the local disk, and "
        f"`vacuumdb -j {STREAMS} --analyze-only`"
    )
    try:
        execute("pg_dump", dump_command, environment)
        yield Restorer(stand, "pg_restore", what, ["bash", "-c", restore_command], DUMP=str(dump))
    finally:
        shutil.rmtree(dump, ignore_errors=True)
