"""Facts on the backups of a source, and the promises that they are held against; see core.health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup_playbook.core.losses import Counts
from backup_playbook.core.model import EncryptionRecord, Manifest
from backup_playbook.core.progress import human_age
from backup_playbook.core.recovery_points import Backup, is_sound

SIZES_CONSIDERED = 30


@dataclass(frozen=True)
class Dags:
    """Names of the DAGs that a person starts for a source, for the remedies of findings."""

    back_up: str
    prove: str
    """Restores a backup and compares it."""
    repair: str
    verify: str


@dataclass(frozen=True)
class Expected:
    """Promises of the configuration for a source."""

    due: datetime
    """Start of the last scheduled run whose backup must exist by now; see core.schedule."""
    rpo: timedelta
    proven_within: timedelta | None
    """None: never restored on trial."""
    reread_within: timedelta
    minimum_size: int
    """Stored bytes."""
    encryption: EncryptionRecord
    dags: Dags


@dataclass(frozen=True)
class Rejection:
    """A backup that the last verification in a repository rejected, and why."""

    repository: str
    backup_id: str
    what: str


@dataclass(frozen=True)
class Inequality:
    """A backup of which a restored copy was not equal, and why."""

    backup_id: str
    what: str


@dataclass(frozen=True)
class Unreadable:
    """A repository that refused, or failed, when it was asked for its catalog or its objects.

    backup_id: the repository answers, except for an object of this backup, which nobody knows to be damaged.
    """

    repository: str
    what: str
    remedy: str
    backup_id: str = ""


@dataclass(frozen=True)
class SourceFacts:
    """All facts on one source's backups. Backups are the sealed ones, newest first."""

    source: str
    expected: Expected
    primary: str
    listed: Mapping[str, Sequence[Backup]]
    """Backups by repository, the primary and the off-site ones; without repositories that could not be read."""
    unreadable: Sequence[Unreadable] = ()
    rejections: Sequence[Rejection] = ()
    inequalities: Sequence[Inequality] = ()
    newest: Manifest | None = None
    """Manifest of the newest sound backup in the primary repository."""
    previous: Manifest | None = None
    """Manifest of the newest sound one of an earlier day."""
    history: Sequence[Counts] = ()
    """Counts of the sound ones before that, newest first; only where something fell."""
    copies: Mapping[str, str] | None = None
    """Origin's seal of the copies of the newest backup, by off-site repository; only those that have one."""
    sizes: Sequence[int] = ()
    """Stored bytes of the sound backups before the newest one, newest first, at most SIZES_CONSIDERED."""
    scrubbed: bool = True
    """Whether today's reading of older backups came to its end."""

    def sound(self, now: datetime) -> list[Backup]:
        """Backups in the primary repository that count."""
        return [one for one in self.listed.get(self.primary, ()) if is_sound(one, now)]

    def proven_at(self, now: datetime) -> datetime | None:
        """Time of the newest proven restore, from any repository. A proof with a date in the future is none."""
        proofs = (one.proven.at for backups in self.listed.values() for one in backups if one.proven)
        return max((at for at in proofs if at <= now), default=None)

    def in_short(self, now: datetime) -> str:
        """Sentence for the summary of a day on which all is well."""
        if self.expected.proven_within is None:
            proof = "no restore test is configured for it"
        elif proven_at := self.proven_at(now):
            proof = f"last proven by a restore {human_age(now - proven_at)} ago"
        else:
            proof = "not yet proven by a restore"
        return f"{self.last_good(now)} {len(self.sound(now))} good backups, {proof}."

    def last_good(self, now: datetime) -> str:
        """Sentence on the newest backup that counts, and whether it is within the RPO."""
        where, sound = "", self.sound(now)
        if self.primary not in self.listed:
            within_reach = [
                (name, one) for name, backups in self.listed.items() for one in backups if is_sound(one, now)
            ]
            if not within_reach:
                return f"No good backup of it can be read while {self.primary} is unreachable."
            name, newest = max(within_reach, key=lambda pair: pair[1].backup_id)
            where, sound = f" that can be read, in {name},", [newest]
        if not sound:
            return "It has no verified backup at all."
        age, rpo = now - sound[0].taken_at, self.expected.rpo
        compared = "older than" if age > rpo else "within"
        return (
            f"Its last good backup{where} is {sound[0].backup_id}, {human_age(age)} old, {compared} the RPO of "
            f"{human_age(rpo)}."
        )
