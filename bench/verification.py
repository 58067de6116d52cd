"""The daily verification: 30 sources with 1,000 backups each in two repositories, all well, through the S3 gateway.

All of it, two sources at once as the DAG's tasks would run on two cores, without Airflow's own start of each task:
listings, the scrub of a thirtieth of the backups, facts, findings. The objects are tiny: how long the reading of real
ones takes is a matter of their size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

from backup_playbook.core.errors import PlaybookError
from backup_playbook.core.facts import Dags, Expected
from backup_playbook.core.health import assess
from backup_playbook.core.model import EncryptionRecord, EvidenceKind, Manifest, ObjectKind, StoredObject
from backup_playbook.core.naming import new_backup_id
from backup_playbook.core.words import EngineWords
from backup_playbook.engines.health import gather_facts
from backup_playbook.engines.scrub import Scrub
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import client_config
from backup_playbook.repository.layout import MANIFEST, RESTORE_SCRIPT, EvidenceName, catalog_folder, objects_folder
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.blocks import Blocks, drain
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.compression import compress
from backup_playbook.streams.processes import Cancellation
from bench.measure import Contestant, race
from bench.report import Figure, Section
from bench.stand import BUCKET, Size, Stand
from embedded.s3 import S3Gateway

GOAL_SOURCES = 30
BACKUPS = 1_000
DAYS = 30
ROUNDS = 2
AT_ONCE = 2
DAY = timedelta(days=1)
OFFSITE = "offsite"
REPOSITORIES = ("primary", OFFSITE)
EXPECTED = Expected(
    due=datetime.now(UTC) - DAY,
    rpo=DAY,
    proven_within=35 * DAY,
    reread_within=DAYS * DAY,
    minimum_size=1,
    encryption=EncryptionRecord(),
    dags=Dags("back_up", "prove", "repair", "verify"),
)
CONTENT = b"1\tone row\n"
STORED = b"".join(compress([CONTENT], 1))


class Rows:
    """An engine whose objects hold rows of no table."""

    name = "rows"
    words = EngineWords()

    def summary(self, manifest: Manifest) -> str:
        return self.words.amount(len(manifest.tables), manifest.rows)

    def check_content(self, manifest: Manifest, item: StoredObject, content: Blocks) -> None:  # noqa: ARG002
        drain(content)

    def check_manifest(self, manifest: Manifest) -> list[str]:  # noqa: ARG002
        return []

    def restore_script(self, manifest: Manifest, repository_url: str) -> str:  # noqa: ARG002
        return ""


@dataclass(frozen=True)
class Filled:
    """due: the catalog's folders of those backups that are read again. keys: in all catalogs."""

    due: list[Path]
    keys: int


class Verification(Contestant):
    name = "verification"

    def __init__(self, gateway: S3Gateway, sources: int, filled: Filled) -> None:
        self.what = f"scrub and assessment of {sources} sources with {BACKUPS:,} backups each in two repositories"
        self._gateway, self._sources, self._filled = gateway, sources, filled

    def before(self) -> None:
        """Forget what an earlier round read."""
        for folder in self._filled.due:
            for evidence in sorted(folder.glob("verified-*"))[1:]:
                evidence.unlink()

    def run(self) -> None:
        jobs = [(self._gateway.directory, name_of(number)) for number in range(self._sources)]
        with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as processes:
            read = sum(processes.map(verify, *zip(*jobs, strict=True)))
        if read < len(REPOSITORIES) * self._sources * BACKUPS // DAYS:
            raise PlaybookError(f"Only {read} backups were read again.", "Compare `fill` with core/scrub.py.")


def verify(gateway: Path, source: str) -> int:
    """What the DAG does with a source, in a process of its own; returns how many backups were read again."""
    catalogs = {name: Catalog(store) for name, store in _stores(S3Gateway(gateway)).items()}
    now = datetime.now(UTC)
    scrub = Scrub(Rows(), Codec(), 2, Cancellation())
    done = scrub.run(source, REPOSITORIES, catalogs.__getitem__, EXPECTED.reread_within, now)
    facts = gather_facts(source, EXPECTED, REPOSITORIES, catalogs.__getitem__, now, done.unreadable)
    if findings := assess(facts, now):
        raise PlaybookError(f"All was well with {source}, but: {findings[0].what}", "Compare `fill`.")
    return done.read


def measure(stand: Stand, size: Size, say: Callable[[str], None]) -> Section:
    """Without a figure when the sources are fewer than those of the goal."""
    sources = size.verified_sources
    say(f"writing the catalogs of {sources} sources with {BACKUPS:,} backups each ...")
    filled = fill(_stores(stand.s3), stand.s3.buckets, sources)
    series = race([Verification(stand.s3, sources, filled)], ROUNDS, say)
    timing = series["verification"]
    figure = Figure("verification_seconds", timing.median, (min(timing.seconds), max(timing.seconds)))
    figures = [figure] if sources == GOAL_SOURCES else []
    return Section("verification", "Daily verification", series, figures, {"keys listed": filled.keys})


def _stores(gateway: S3Gateway) -> dict[str, ObjectStore]:
    client = gateway.client(client_config(2))
    return {name: ObjectStore(client, bucket=BUCKET, prefix=f"verification-{name}") for name in REPOSITORIES}


def name_of(number: int) -> str:
    return f"source_{number:02}"


def fill(stores: Mapping[str, ObjectStore], buckets: Path, sources: int) -> Filled:
    """One backup of each source a day, each read again every DAYS days, straight into the gateway's directory.

    Documents that nobody will open are links to one stored object of the source.
    """
    now = datetime.now(UTC)
    due: list[Path] = []
    keys = 0
    for number in range(sources):
        source = name_of(number)
        backups = [_manifest(source, now - age * DAY) for age in range(BACKUPS)]
        for repository, store in stores.items():
            root = buckets / store.bucket / store.prefix
            template, objects = root / f"document-{number}", root / f"object-{number}"
            store.put(template.name, json.dumps({"stored_bytes": len(STORED)}).encode())
            store.put(objects.name, STORED)
            for age, manifest in enumerate(backups):
                folder = root / catalog_folder(source, manifest.backup_id)
                folder.mkdir(parents=True)
                opened = age < 2 or age % DAYS >= DAYS - 2
                if opened:
                    store.put(str((folder / MANIFEST).relative_to(root)), manifest.to_json())
                    blob = root / objects_folder(source, manifest.backup_id) / manifest.objects[0].name
                    blob.parent.mkdir(parents=True)
                    blob.hardlink_to(objects)
                names = [*([] if opened else [MANIFEST]), RESTORE_SCRIPT, *_evidence(repository, age, now)]
                for name in names:
                    (folder / name).hardlink_to(template)
                keys += len(names) + opened
                if age % DAYS >= DAYS - 2:
                    due.append(folder)
    return Filled(due, keys)


def _evidence(repository: str, age: int, now: datetime) -> Iterator[str]:
    read_at = now - (age % DAYS) * DAY
    found = [(read_at, EvidenceKind.VERIFIED, "full"), (read_at, EvidenceKind.TIERED, "daily")]
    if repository != OFFSITE:
        found.append((read_at, EvidenceKind.COPIED, OFFSITE))
        if age == DAYS:
            found.append((read_at, EvidenceKind.RESTORED, repository))
    return (EvidenceName(*one).file_name for one in found)


def _manifest(source: str, taken_at: datetime) -> Manifest:
    item = StoredObject(
        name="rows.zst",
        kind=ObjectKind.TABLE,
        stored_bytes=len(STORED),
        stored_sha256=hashlib.sha256(STORED).hexdigest(),
        first_part_bytes=len(STORED),
        content_bytes=len(CONTENT),
        content_sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    return Manifest(
        backup_id=new_backup_id(taken_at), source=source, engine=Rows.name, started_at=taken_at, snapshot_at=taken_at,
        finished_at=taken_at, tools={}, compression="zstd level 1", encryption=EncryptionRecord(), details={},
        objects=(item,), tables=(),
    ).sealed()  # fmt: skip
