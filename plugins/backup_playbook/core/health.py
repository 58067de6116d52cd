"""Health of a source's backups: findings from facts, without asking anybody.

A finding is told once and its end once (core.open_problems), so each condition has a key of its own that stays the same
as long as the condition lasts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_playbook.core.files_guard import warnings
from backup_playbook.core.holdings import counted
from backup_playbook.core.losses import Counts
from backup_playbook.core.model import EncryptionRecord, Manifest
from backup_playbook.core.newest_backup import (
    FindingSeverity,
    Problem,
    encryption_problems,
    loss_problems,
    size_problems,
)
from backup_playbook.core.progress import human_age
from backup_playbook.core.recovery_points import Backup, is_sound
from backup_playbook.core.scrub import is_late

SIZES_CONSIDERED = 30


@dataclass(frozen=True)
class Finding:
    """A broken promise.

    key: the same while the condition lasts. means: for the data, and for the promises. blinding: nothing else about the
    source can be told meanwhile, so that earlier findings may still hold.
    """

    key: str
    severity: FindingSeverity
    source: str
    what: str
    means: str
    remedy: str
    blinding: bool = False


@dataclass(frozen=True)
class Expected:
    """Promises of the configuration for a source. `due`: the time of day (UTC) by which its backup must exist."""

    due: timedelta
    rpo: timedelta
    proven_within: timedelta | None
    """None: never restored on trial."""
    reread_within: timedelta
    minimum_size: int
    """Stored bytes."""
    encryption: EncryptionRecord
    backup_dag: str = "nightly_database_backup"
    restore_dag: str = "monthly_restore_test"
    """The DAGs that take a backup of this source, and prove one."""


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
        return f"{_last_good(self, now)} {len(self.sound(now))} good backups, {proof}."


def assess(facts: SourceFacts, now: datetime) -> list[Finding]:
    """Find all broken promises, the gravest first; empty when all is well."""
    means = _last_good(facts, now)
    found = [
        Finding(f"{facts.source}/{one.check}", one.severity, facts.source, one.what, means, one.remedy, one.blinding)
        for one in _problems(facts, now)
    ]
    return sorted(found, key=gravest_first)


def gravest_first(finding: Finding) -> tuple[int, str]:
    """Key for sorted()."""
    return ("critical", "high", "medium").index(finding.severity), finding.key


def _problems(facts: SourceFacts, now: datetime) -> Iterator[Problem]:
    for one in facts.unreadable:
        where = f"{one.repository}/{one.backup_id}" if one.backup_id else one.repository
        yield Problem(f"unreadable/{where}", "critical", one.what, one.remedy, blinding=not one.backup_id)
    for rejection in facts.rejections:
        yield _rejected(facts, rejection, now)
    for inequality in facts.inequalities:
        yield _unequal(facts, inequality)
    yield from _misdated(facts, now)
    yield from _rereading(facts, now)
    if facts.primary not in facts.listed:
        return
    yield from _todays_backup(facts, now)
    yield from _proof(facts, now)
    if facts.newest:
        if found := warnings(facts.newest.details):
            yield Problem(
                "incomplete", "high", f"{facts.newest.backup_id} is not all that it should be: {'; '.join(found)}.",
                "Read the log of its task `seal`, which names the first paths; give the worker the right to read them, "
                "mount what is away, or take out of the source what need not be backed up. Then run the backup.",
            )  # fmt: skip
        yield from size_problems(facts.newest, facts.expected.minimum_size, facts.sizes)
        yield from encryption_problems(facts.expected.encryption, facts.newest)
        yield from _offsite(facts, facts.newest)
        if facts.previous:
            yield from loss_problems(facts.previous, facts.newest, facts.history)


def _last_good(facts: SourceFacts, now: datetime) -> str:
    where, sound = "", facts.sound(now)
    if facts.primary not in facts.listed:
        within_reach = [(name, one) for name, backups in facts.listed.items() for one in backups if is_sound(one, now)]
        if not within_reach:
            return f"No good backup of it can be reached while {facts.primary} is away."
        name, newest = max(within_reach, key=lambda pair: pair[1].backup_id)
        where, sound = f" that can be reached, in {name},", [newest]
    if not sound:
        return "It has no verified backup at all."
    age, rpo = now - sound[0].taken_at, facts.expected.rpo
    kept = "older than" if age > rpo else "within"
    return (
        f"Its last good backup{where} is {sound[0].backup_id}, {human_age(age)} old, {kept} the RPO of "
        f"{human_age(rpo)}."
    )


def _rejected(facts: SourceFacts, one: Rejection, now: datetime) -> Problem:
    others = [
        name
        for name, backups in facts.listed.items()
        if any(copy.backup_id == one.backup_id and is_sound(copy, now) for copy in backups)
    ]
    copies = f"a verified copy is in {' and '.join(others)}" if others else "no verified copy of it is known"
    return Problem(
        f"rejected/{one.repository}/{one.backup_id}",
        "critical",
        f"The backup {one.backup_id} in {one.repository} is damaged: {one.what}",
        f"Do not restore from it: {copies}. Find out who wrote to the bucket, or whether its disk is failing. Then run "
        "repair_backup, which brings back what is damaged from another repository, or remove it.",
    )


def _unequal(facts: SourceFacts, one: Inequality) -> Problem:
    return Problem(
        f"unequal/{one.backup_id}",
        "high",
        f"A restored copy of {one.backup_id} was not what was backed up: {one.what}",
        f"Its stored bytes are another matter. Run {facts.expected.restore_dag} for this backup, by its id: a proof "
        "ends this. "
        "If you find it good as it is, run daily_backup_verification with its id under *Accept*.",
    )


def _misdated(facts: SourceFacts, now: datetime) -> Iterator[Problem]:
    found = {one.backup_id for backups in facts.listed.values() for one in backups if one.misdated(now)}
    for backup_id in sorted(found):
        yield Problem(
            f"misdated/{backup_id}", "medium",
            f"The backup {backup_id} bears a date that had not come when it was taken: it counts for nothing.",
            f"Correct the clock of the worker that took it; then run {facts.expected.backup_dag}. "
            "Until retention removes it, it can be restored by its id.",
        )  # fmt: skip


def _rereading(facts: SourceFacts, now: datetime) -> Iterator[Problem]:
    if not facts.scrubbed:
        yield Problem(
            "scrub", "high", "Reading older backups again did not come to its end.",
            "Open the red task `scrub` of this run; clear it when the cause is gone.",
        )  # fmt: skip
    within = facts.expected.reread_within
    for repository, backups in facts.listed.items():
        late = [one for one in backups if is_late(one, within, now)]
        if late:
            yield Problem(
                f"unread/{repository}",
                "high",
                f"Not read again within {human_age(within)}: {counted(len(late), 'backup')} in {repository}, "
                f"first {late[-1].backup_id}: nobody knows whether that is still what was stored.",
                "Look at the task `scrub` of the last runs for what stopped it, then run daily_backup_verification.",
            )


def _todays_backup(facts: SourceFacts, now: datetime) -> Iterator[Problem]:
    run = facts.expected.backup_dag
    # before the time at which today's is due, yesterday's is the one to look for
    day = (now.astimezone(UTC) - facts.expected.due).replace(hour=0, minute=0, second=0, microsecond=0)
    todays = [one for one in facts.listed[facts.primary] if one.taken_at >= day and not one.misdated(now)]
    if any(is_sound(one, now) for one in todays):
        age = now - facts.sound(now)[0].taken_at
        if age > facts.expected.rpo:
            yield Problem(
                "rpo", "high", f"The newest verified backup is {human_age(age)} old.",
                f"Take one now ({run}), and run it as often as the RPO asks for.",
            )  # fmt: skip
        return
    if not todays:
        what = f"There is no backup of {day:%Y-%m-%d}."
        remedy = (
            f"Run {run} now; then find out why it did not run, or what its red task says. If the "
            "scheduler was down, the run that it makes up for is enough."
        )
    elif todays[0].rejected:
        what = f"The backup of {day:%Y-%m-%d}, {todays[0].backup_id}, was rejected by its verification."
        remedy = f"Run {run} now, and find out what damaged the first one."
    elif todays[0].unequal:
        what = f"Of the backup of {day:%Y-%m-%d}, {todays[0].backup_id}, a restored copy was not equal."
        remedy = f"Run {run} now, and {facts.expected.restore_dag} for its result."
    else:
        what = f"The backup of {day:%Y-%m-%d}, {todays[0].backup_id}, is not verified."
        remedy = f"Open the run of {run}: clear its task `verify` if it failed, or wait for its end."
    yield Problem("today", "high", what, remedy)


def _proof(facts: SourceFacts, now: datetime) -> Iterator[Problem]:
    within = facts.expected.proven_within
    oldest = min((one.taken_at for backups in facts.listed.values() for one in backups), default=now)
    # a new source has as much time for its first proof
    restored = facts.proven_at(now)
    if within is None or now - (restored or oldest) <= within:
        return
    what = f"The last proven restore was {human_age(now - restored)} ago" if restored else "No restore was ever proven"
    yield Problem(
        "proof", "medium", f"{what}, where {human_age(within)} are the most.",
        f"Run {facts.expected.restore_dag} for it, and read the last red run of it, if there is one.",
    )  # fmt: skip


def _offsite(facts: SourceFacts, newest: Manifest) -> Iterator[Problem]:
    seals = facts.copies or {}
    for repository, backups in facts.listed.items():
        if repository == facts.primary:
            continue
        copy = next((one for one in backups if one.backup_id == newest.backup_id), None)
        if copy and copy.rejected:
            continue  # a finding of its own, and a graver one
        if copy is None:
            what = f"{newest.backup_id} has no copy in {repository}."
        elif seals.get(repository) != newest.origin_seal:
            what = f"{repository} holds another backup under the id {newest.backup_id}: its manifest has another seal."
        elif not (copy.verified or copy.proven):
            what = f"The copy of {newest.backup_id} in {repository} is not verified."
        else:
            continue
        yield Problem(
            f"offsite/{repository}", "high", what,
            f"Open the run of {facts.expected.backup_dag} and clear its task `copy_offsite`, or `verify_offsite`.",
        )  # fmt: skip
