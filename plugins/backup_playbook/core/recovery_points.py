"""Recovery points: the newest backups of each kind, what is known of them, and the choice of one to restore."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any, Literal, Protocol, TypeVar, get_args

from backup_playbook.core.errors import PlaybookError
from backup_playbook.core.evidence import Restored
from backup_playbook.core.naming import backup_time
from backup_playbook.core.progress import human_age, human_bytes, human_seconds
from backup_playbook.core.words import counted

RETRIEVAL: Mapping[str, timedelta] = {"GLACIER": timedelta(hours=5), "DEEP_ARCHIVE": timedelta(hours=12)}
"""Longest standard retrieval, by S3 storage class; all other classes can be read at once."""
RATES_CONSIDERED = 6
"""Newest proven restores that give the speed for estimates: servers and networks change."""


State = Literal["verified", "not verified", "DAMAGED", "A COPY WAS NOT EQUAL", "DATED IN THE FUTURE"]
"""State of a backup in one repository. `verified`: it counts."""
Kind = Literal["proven", "verified", "unverified"]
_KINDS: tuple[Kind, ...] = get_args(Kind)


class NoSuchBackupError(PlaybookError):
    """A backup that does not exist, or is not fit to be restored."""


class Dated(Protocol):
    """A piece of evidence."""

    @property
    def at(self) -> datetime:
        """Time of the evidence."""


class Backup(Protocol):
    """A sealed backup in one repository, as its catalog's listing tells of it."""

    @property
    def source(self) -> str:
        """Name of the source."""

    @property
    def backup_id(self) -> str:
        """Id of the backup."""

    @property
    def taken_at(self) -> datetime:
        """Start of the backup."""

    @property
    def verified(self) -> Dated | None:
        """Newest verification, unless the backup is rejected."""

    @property
    def rejected(self) -> bool:
        """Whether its stored bytes differ from the manifest."""

    @property
    def unequal(self) -> bool:
        """Whether a restored copy differed from the backup."""

    @property
    def proven(self) -> Dated | None:
        """Newest restore that was proven equal, unless another one was not."""

    def misdated(self, now: datetime) -> bool:
        """Whether its date is in the future, or a clock was wrong when it was taken."""

    def last_read(self, now: datetime) -> datetime:
        """Time of the last verification or rejection; without any, that of the backup."""


AnyBackup = TypeVar("AnyBackup", bound=Backup)


def is_sound(backup: Backup, now: datetime) -> bool:
    """Whether a backup counts: it was checked, nothing speaks against it, and its date is right.

    `core.retention` has the same rule. A backup with an unequal copy is not the `latest`, is never proven, and is no
    reason to remove another one. It is copied off-site, for its bytes are right, and a person may take it by its id.
    """
    checked = backup.verified is not None or backup.proven is not None
    return checked and not backup.rejected and not backup.unequal and not backup.misdated(now)


def choose_backup(
    backups: Iterable[AnyBackup],
    wanted: str = "latest",
    before: datetime | None = None,
    *,
    now: datetime,
    allow_unverified: bool = False,
    allow_damaged: bool = False,
) -> AnyBackup:
    """Choose one of the sealed backups of a source in one repository.

    wanted: a backup id; or `latest`, the newest sound one; or `latest_proven`, the newest that a restore has proven.
    before: `latest...` is the newest that was begun before this moment (aware); what it shows may be later, which its
    manifest says.
    allow_unverified: an id may be that of a backup that nobody has checked; never of a rejected one.
    allow_damaged: an id may be that of any backup; for those who check each thing that they take from it.
    Raises NoSuchBackupError.
    """
    newest_first = sorted(backups, key=lambda one: one.backup_id, reverse=True)
    if not newest_first:
        raise NoSuchBackupError(
            "This repository has no backup of the source.", "Take one first, or choose another repository."
        )
    if wanted not in ("latest", "latest_proven"):
        return _by_id(newest_first, wanted, now, allow_unverified=allow_unverified, allow_damaged=allow_damaged)
    fit = [one for one in newest_first if is_sound(one, now) and (one.proven or wanted == "latest")]
    for one in fit:
        if before is None or one.taken_at < before:
            return one
    kind = "verified" if wanted == "latest" else "proven"
    if not fit:
        raise NoSuchBackupError(
            f"{newest_first[0].source} has {counted(len(newest_first), 'backup')} here, none of them {kind}.",
            f"Choose one by its id, or take a new one; the newest is {newest_first[0].backup_id}.",
        )
    raise NoSuchBackupError(
        f"{newest_first[0].source} has no {kind} backup that was taken before {before:%Y-%m-%d %H:%M:%S %Z}.",
        f"Choose a later moment: the oldest {kind} backup is {fit[-1].backup_id}.",
    )


def _by_id(
    newest_first: Sequence[AnyBackup], backup_id: str, now: datetime, *, allow_unverified: bool, allow_damaged: bool
) -> AnyBackup:
    source = newest_first[0].source
    remedy = "Choose one that is listed for the source"
    if sound := next((one for one in newest_first if is_sound(one, now)), None):
        remedy += f", such as {sound.backup_id}, the newest verified one"
    for one in newest_first:
        if one.backup_id == backup_id:
            checked = one.verified is not None or one.proven is not None
            if allow_damaged or (not one.rejected and (checked or allow_unverified)):
                return one
            if one.rejected:
                raise NoSuchBackupError(
                    f"{source} {backup_id} was rejected by its last verification: what is stored is not what was "
                    "backed up.",
                    f"{remedy}; or read its rejected-*.json in the repository, which says what is damaged.",
                )
            raise NoSuchBackupError(
                f"{source} {backup_id} was never verified: nobody knows whether it can be restored.",
                f"Verify it first: clear the task `verify` of the run that took it. Or: {remedy}. A recovery takes it "
                "as it is when its param `allow_unverified` is set.",
            )
    raise NoSuchBackupError(f"{source} has no backup {backup_id!r} in this repository.", f"{remedy}.")


@dataclass(frozen=True)
class Contents:
    """Contents of a backup, as the manifest and the store tell. Sizes in bytes.

    summary: amount of data, in words. stored_bytes: None where backups share contents.
    """

    summary: str
    tables: int
    rows: int
    content_bytes: int
    stored_bytes: int | None
    storage_class: str


@dataclass(frozen=True)
class RecoveryPoint:
    """A backup, with all its copies."""

    backup_id: str
    states: Mapping[str, State]
    """State in each repository that has it."""
    contents: Contents | None = None
    """None while it was not looked up, or cannot be read."""
    restore: timedelta | None = None
    """Estimated time until it is restored and proven, with retrieval from an archive; None: not measured yet."""

    @property
    def taken_at(self) -> datetime:
        """Start of the backup."""
        return backup_time(self.backup_id)

    @property
    def sound_in(self) -> tuple[str, ...]:
        """Repositories in which it counts."""
        return tuple(name for name, state in self.states.items() if state == "verified")

    @property
    def rejected(self) -> bool:
        """Whether it is damaged somewhere, and sound nowhere."""
        return not self.sound_in and "DAMAGED" in self.states.values()

    @property
    def retrieval(self) -> timedelta:
        """Time that a retrieval from an archive takes at most."""
        return RETRIEVAL.get(self.contents.storage_class, timedelta()) if self.contents else timedelta()


@dataclass(frozen=True)
class RecoveryPoints:
    """The newest backups of one source."""

    source: str
    newest: Mapping[Kind, RecoveryPoint]
    """Newest backup of each kind that there is."""
    offsite: tuple[str, ...]
    """Off-site repositories that should have copies."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Reasons why repositories could not be read, by repository."""

    def as_json(self, now: datetime) -> dict[str, Any]:
        """Recovery points for machines.

        Times in seconds, sizes in bytes; `restore_seconds` is null until a restore was measured.
        """
        points: dict[str, Any] = {
            kind: {
                "backup_id": point.backup_id,
                "taken_at": point.taken_at.isoformat(),
                "age_seconds": (now - point.taken_at).total_seconds(),
                "rejected": point.rejected,
                "sound_in": list(point.sound_in),
                "listed_in": list(point.states),
                "states": dict(point.states),
                "contents": asdict(point.contents) if point.contents else None,
                "retrieval_seconds": point.retrieval.total_seconds(),
                "restore_seconds": point.restore.total_seconds() if point.restore else None,
            }
            for kind, point in self.newest.items()
        }
        return {**points, "offsite": list(self.offsite), "unreadable": dict(self.unreadable)}


def newest_points(
    source: str, listed: Mapping[str, Iterable[Backup]], offsite: Sequence[str], now: datetime
) -> RecoveryPoints:
    """Newest backup of each kind.

    listed: the sealed backups of the source by repository. offsite: its off-site repositories.
    """
    copies: dict[str, dict[str, Backup]] = {}
    for repository, backups in listed.items():
        for one in backups:
            copies.setdefault(one.backup_id, {})[repository] = one
    newest: dict[Kind, RecoveryPoint] = {}
    for backup_id in sorted(copies, reverse=True):
        held = copies[backup_id]
        point = RecoveryPoint(backup_id, {name: _state(one, now) for name, one in held.items()})
        newest.setdefault("verified" if point.sound_in else "unverified", point)
        if point.sound_in and any(one.proven for one in held.values()):
            newest.setdefault("proven", point)
    return RecoveryPoints(source, newest, tuple(offsite))


def _state(one: Backup, now: datetime) -> State:
    if is_sound(one, now):
        return "verified"
    if one.rejected:
        return "DAMAGED"
    if one.unequal:
        return "A COPY WAS NOT EQUAL"
    return "DATED IN THE FUTURE" if one.misdated(now) else "not verified"


def restore_rate(restored: Iterable[Restored]) -> float | None:
    """Bytes of data per second of restore and proof together: the median of these restores.

    None when there is none, or none tells its size and its times.
    """
    times = ((one.content_bytes, sum(one.seconds.values())) for one in restored)
    rates = [size / seconds for size, seconds in times if size and seconds]
    return median(rates) if rates else None


def estimated(contents: Contents, rate: float | None) -> timedelta | None:
    """Duration of a restore with proof, with the retrieval from an archive."""
    if not rate:
        return None
    waiting = RETRIEVAL.get(contents.storage_class, timedelta())
    return waiting + timedelta(seconds=contents.content_bytes / rate)


def as_text(sources: Sequence[RecoveryPoints], now: datetime) -> str:
    """A paragraph for each source, a line for each point."""
    return "\n\n".join("\n".join([points.source, *_lines(points, now)]) for points in sources)


def _lines(points: RecoveryPoints, now: datetime) -> Iterator[str]:
    for kind in _KINDS:
        if point := points.newest.get(kind):
            yield f"  {kind:<10}  {_line(point, points.offsite, now)}"
        elif kind != "unverified":
            yield f"  {kind:<10}  none"
    for name, why in points.unreadable.items():
        yield f"  {name} cannot be read: {why}"


def _line(point: RecoveryPoint, offsite: Sequence[str], now: datetime) -> str:
    words = [f"{point.backup_id}, {human_age(now - point.taken_at)} old"]
    if point.rejected:
        words.append("DAMAGED: its last verification rejected it")
    if contents := point.contents:
        sizes = human_bytes(contents.content_bytes)
        if contents.stored_bytes:
            sizes += f" stored as {human_bytes(contents.stored_bytes)}"
        words.append(f"{contents.summary}, {sizes}, {contents.storage_class}")
    if point.retrieval:
        words.append(f"retrieval takes up to {human_age(point.retrieval)}")
    took = f"about {human_seconds(point.restore.total_seconds())}" if point.restore else "not measured yet"
    words.append(f"restore with proof: {took}")
    words.append(_copies(point, offsite))
    return "; ".join(words)


def _copies(point: RecoveryPoint, offsite: Sequence[str]) -> str:
    missing = {name: "MISSING" for name in offsite if name not in point.states}
    return "in " + ", ".join(f"{name} ({state})" for name, state in {**point.states, **missing}.items())
