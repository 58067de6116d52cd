"""Files: against `aws s3 sync`, against rclone, and one file out of a million.

All write into the same bucket, which keeps versions.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from backup_playbook.core.errors import PlaybookError
from backup_playbook.core.model import EncryptionRecord, Manifest
from backup_playbook.core.naming import new_backup_id
from backup_playbook.core.tree import Entry, FileType, current_folder, to_line
from backup_playbook.engines.files.details import FilesDetails
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.shards import ShardWriter
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import client_config
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from bench.back_up_files import SOURCE
from bench.measure import Contestant, Series, peak_rss, race, ratio
from bench.report import MIB, Figure, Section
from bench.stand import Size, Stand, search_path
from embedded.binaries import RCLONE, binary

Say = Callable[[str], None]
BUCKET = "playbook-files"
FILES_PER_FOLDER = 200
SMALL_BYTES = (500, 8_500)
WANTED = "56/0123456"


@dataclass(frozen=True)
class Amounts:
    """small, large_bytes: of the first run. unchanged: of the second. listed: of the tree that one file is out of.

    rclone: whether it takes part in the first run; building it takes minutes, once on a machine.
    """

    small: int
    large_bytes: int
    unchanged: int
    listed: int
    rounds: int
    rclone: bool


AMOUNTS = {
    "small": Amounts(1_000, 64 << 20, 5_000, 200_000, 1, False),
    "full": Amounts(20_000, 1 << 30, 200_000, 1_000_000, 3, True),
}


class Program(Contestant):
    """A command line whose place in the bucket is made anew before each run, if it `starts_empty`."""

    def __init__(
        self, stand: Stand, name: str, what: str, words: Sequence[str], *, starts_empty: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.what = name, what
        self.outputs: list[str] = []
        self._stand, self._words, self._starts_empty = stand, words, starts_empty
        self._environment = {**stand.environment("none"), **(environment or {})}

    def before(self) -> None:
        if self._starts_empty:
            forget(self._stand, self._starts_empty)

    def run(self) -> None:
        done = subprocess.run(self._words, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PlaybookError(f"{self.name} failed: {done.stderr[-2000:]}", "Run its command by hand.")
        self.outputs.append(done.stdout)

    def after(self) -> int:
        if self._starts_empty:
            forget(self._stand, self._starts_empty)
        return 0


def measure(stand: Stand, size: Size, say: Say) -> list[Section]:
    amounts = AMOUNTS[size.name]
    stand.s3.create_bucket(BUCKET)
    client = stand.s3.client(client_config(8))
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return [
        _first_run(stand, amounts, say),
        _second_run(stand, amounts, say),
        _one_of_many(stand, ObjectStore(client, bucket=BUCKET, prefix="many"), amounts, say),
    ]


def this(stand: Stand, directory: Path, prefix: str, *more: str, empty: bool = False) -> Program:
    words = [sys.executable, "-m", "bench.back_up_files", "--bucket", BUCKET, "--prefix", prefix]
    return Program(
        stand, "this", f"`python -m bench.back_up_files {' '.join(more)}`".replace(" `", "`"),
        [*words, "--directory", str(directory), *more], starts_empty=prefix if empty else "",
    )  # fmt: skip


def aws_sync(stand: Stand, directory: Path, key: str, *, empty: bool = False) -> Program:
    words = ["aws", "s3", "sync", "--only-show-errors", "--delete", str(directory), f"s3://{BUCKET}/{key}"]
    words[0] = shutil.which("aws", path=search_path()) or "aws"
    return Program(stand, "aws_s3_sync", "`aws s3 sync --delete`", words, starts_empty=key if empty else "")


def rclone_sync(stand: Stand, directory: Path, key: str) -> Program:
    environment = {
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORE_ENDPOINT": stand.s3.endpoint_url,
        "RCLONE_CONFIG_STORE_REGION": stand.s3.region,
        "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": stand.s3.access_key,
        "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": stand.s3.secret_key,
    }
    words = [str(binary(RCLONE)), "sync", str(directory), f"store:{BUCKET}/{key}"]
    return Program(stand, "rclone_sync", "`rclone sync`", words, starts_empty=key, environment=environment)


def _first_run(stand: Stand, amounts: Amounts, say: Say) -> Section:
    say(f"writing {amounts.small:,} small files and a large one ...")
    directory = stand.scratch / "first"
    fill(directory, amounts.small, amounts.large_bytes)
    ours, aws = this(stand, directory, "ours", empty=True), aws_sync(stand, directory, "aws", empty=True)
    rclone = rclone_sync(stand, directory, "rclone") if amounts.rclone else None
    contestants: list[Contestant] = [aws, *([rclone] if rclone else []), ours]
    series = race(contestants, amounts.rounds, say)
    figures = [Figure("files_first_vs_aws", *ratio(series[aws.name], series[ours.name]))]
    if rclone:
        figures.append(Figure("files_first_vs_rclone", *ratio(series[rclone.name], series[ours.name])))
    say("watching memory ...")
    figures.append(Figure("files_peak_rss_mb", peak_rss(ours) / MIB))
    shutil.rmtree(directory)
    facts = {"small files": amounts.small, "bytes of the large one": amounts.large_bytes}
    return Section("files_first", "Files: first run", series, figures, facts)


def _second_run(stand: Stand, amounts: Amounts, say: Say) -> Section:
    say(f"backing up {amounts.unchanged:,} files ...")
    directory = stand.scratch / "second"
    fill(directory, amounts.unchanged, 0)
    ours, aws = this(stand, directory, "second"), aws_sync(stand, directory, f"second/{current_folder(SOURCE)}")
    ours.run()
    ours.run()  # what was just written is read once more
    series: dict[str, Series] = race([aws, ours], amounts.rounds, say)
    report = json.loads(ours.outputs[-1])
    if report["uploaded"] or report["files"] != amounts.unchanged:
        raise PlaybookError(f"Nothing had changed, but: {report}", "Compare `fill` with engines/files/plan.py.")
    figures = [Figure("files_second_vs_aws", *ratio(series[aws.name], series[ours.name]))]
    say("watching memory ...")
    figures.append(Figure("files_second_peak_rss_mb", peak_rss(ours) / MIB))
    shutil.rmtree(directory)
    forget(stand, "second")
    return Section("files_second", "Files: nothing changed", series, figures, {"files": amounts.unchanged})


def _one_of_many(stand: Stand, store: ObjectStore, amounts: Amounts, say: Say) -> Section:
    say(f"writing the list of {amounts.listed:,} files ...")
    content = b"the one that is wanted"
    version = store.put(f"{current_folder(SOURCE)}{WANTED}", content).version
    _list(store, amounts.listed, Entry(
        path=b"", type=FileType.FILE.value, size=len(content), mode=0o644, mtime_ns=10**18,
        sha256=sha256(content).hexdigest(), version=version,
    ))  # fmt: skip
    place = stand.scratch / "one"
    place.mkdir()
    one = this(stand, place, store.prefix.rstrip("/"), "--restore", WANTED)
    series = race([one], amounts.rounds, say)
    inside = [json.loads(output)["seconds"] for output in one.outputs[-amounts.rounds :]]
    if (place / WANTED).read_bytes() != content:
        raise PlaybookError("The file is not what was stored.", "Compare `_list` with engines/files.")
    figures = [
        Figure("files_one_of_million_seconds", statistics.median(inside), (min(inside), max(inside))),
        Figure("files_one_peak_rss_mb", peak_rss(one) / MIB),
    ]
    forget(stand, store.prefix.rstrip("/"))
    return Section("files_one", "Files: one out of many", series, figures, {"files in the backup": amounts.listed})


def _list(store: ObjectStore, count: int, entry: Entry) -> None:
    """A backup that names so many files; only the wanted one is stored."""
    now = datetime.now(UTC)
    writer = BackupWriter(store, SOURCE, new_backup_id(now - timedelta(minutes=1)), Codec())
    shards = ShardWriter(writer, "tree")
    paths = sorted(f"{number % 100:02}/{number:07}".encode() for number in range(count))
    wanted = WANTED.encode()
    for path in paths:
        shards.add(
            path,
            to_line(entry._replace(path=path, sha256=sha256(path).hexdigest() if path != wanted else entry.sha256)),
        )
    shards.flush()
    details = FilesDetails(
        previous="", runs_since_rehash=0, files=count, directories=0, symlinks=0, bytes=0, new_bytes=0, done={},
        examples=(), current=current_folder(SOURCE), hashed="", shards=tuple(shards.shards),
    )  # fmt: skip
    manifest = Manifest(
        backup_id=writer.backup_id, source=SOURCE, engine=FilesEngine.name, started_at=now, snapshot_at=now,
        finished_at=now, tools={}, compression="zstd level 1", encryption=EncryptionRecord(),
        details=details.written(), objects=tuple(shards.objects), tables=(),
    ).sealed()  # fmt: skip
    Catalog(store).seal(manifest, "")


def fill(directory: Path, small: int, large_bytes: int) -> None:
    """Small files of 0.5 to 8.5 kB, two hundred in a folder, and a large one that does not compress."""
    smallest, largest = SMALL_BYTES
    for number in range(small):
        folder = directory / f"{number // FILES_PER_FOLDER:05}"
        if number % FILES_PER_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{number}.bin").write_bytes(os.urandom(smallest + number * 7919 % (largest - smallest)))
    if large_bytes:
        with (directory / "large.bin").open("wb") as file:
            for _ in range(large_bytes >> 20):
                file.write(os.urandom(1 << 20))


def forget(stand: Stand, prefix: str) -> None:
    """Everything below a prefix, straight from the gateway's directories: deletions would leave versions."""
    for root in (stand.s3.buckets, stand.s3.directory / "versions"):
        shutil.rmtree(root / BUCKET / prefix, ignore_errors=True)
