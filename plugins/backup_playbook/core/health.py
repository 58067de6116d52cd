"""Health of a source's backups: findings from facts, without asking anybody.

A finding is told once and its end once (core.open_problems), so each condition has a key of its own that stays the same
as long as the condition lasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_playbook.core.facts import Inequality, Rejection, SourceFacts
from backup_playbook.core.files_guard import warnings
from backup_playbook.core.model import Manifest
from backup_playbook.core.newest_backup import (
    FindingSeverity,
    Problem,
    encryption_problems,
    loss_problems,
    size_problems,
)
from backup_playbook.core.progress import human_age
from backup_playbook.core.recovery_points import is_sound
from backup_playbook.core.scrub import is_late
from backup_playbook.core.words import counted

CLOCKS_APART = timedelta(minutes=5)
"""Difference between the clocks of a worker and of the scheduler that is no reason to miss a backup."""


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


def assess(facts: SourceFacts, now: datetime) -> list[Finding]:
    """Find all broken promises, the gravest first; empty when all is well."""
    means = facts.last_good(now)
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
    yield from _scheduled_backup(facts, now)
    yield from _proof(facts, now)
    if facts.newest:
        if found := warnings(facts.newest):
            yield Problem(
                "incomplete", "high", f"{facts.newest.backup_id} is not all that it should be: {'; '.join(found)}.",
                "Read the log of its task `seal`, which names the first paths; give the worker the right to read them, "
                "mount what is missing, or take out of the source what need not be backed up. Then run the backup.",
            )  # fmt: skip
        yield from size_problems(facts.newest, facts.expected.minimum_size, facts.sizes)
        yield from encryption_problems(facts.expected.encryption, facts.newest, facts.expected.dags.back_up)
        yield from _offsite(facts, facts.newest)
        if facts.previous:
            yield from loss_problems(facts.previous, facts.newest, facts.history)


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
        f"{facts.expected.dags.repair}, which brings back what is damaged from another repository, or remove it.",
    )


def _unequal(facts: SourceFacts, one: Inequality) -> Problem:
    return Problem(
        f"unequal/{one.backup_id}",
        "high",
        f"A restored copy of {one.backup_id} was not what was backed up: {one.what}",
        f"Its stored bytes are another matter. Run {facts.expected.dags.prove} for this backup, by its id: a proof "
        f"resolves this. If you find it good as it is, run {facts.expected.dags.verify} with its id under *Accept*.",
    )


def _misdated(facts: SourceFacts, now: datetime) -> Iterator[Problem]:
    found = {one.backup_id for backups in facts.listed.values() for one in backups if one.misdated(now)}
    for backup_id in sorted(found):
        yield Problem(
            f"misdated/{backup_id}", "medium",
            f"The backup {backup_id} bears a date that had not come when it was taken: it counts for nothing.",
            f"Correct the clock of the worker that took it; then run {facts.expected.dags.back_up}. "
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
                "Look at the task `scrub` of the last runs for what stopped it, then run "
                f"{facts.expected.dags.verify}.",
            )


def _scheduled_backup(facts: SourceFacts, now: datetime) -> Iterator[Problem]:
    run, due = facts.expected.dags.back_up, facts.expected.due
    since = [one for one in facts.listed[facts.primary] if one.taken_at >= due - CLOCKS_APART and not one.misdated(now)]
    if any(is_sound(one, now) for one in since):
        age = now - facts.sound(now)[0].taken_at
        if age > facts.expected.rpo:
            yield Problem(
                "rpo", "high", f"The newest verified backup is {human_age(age)} old.",
                f"Take one now ({run}), and run it as often as the RPO asks for.",
            )  # fmt: skip
        return
    which = f"{due.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if not since:
        what = f"There is no backup of {which}."
        remedy = (
            f"Run {run} now; then find out why it did not run, or what its red task says. If the "
            "scheduler was down, the run that it makes up for is enough."
        )
    elif since[0].rejected:
        what = f"The backup of {which}, {since[0].backup_id}, was rejected by its verification."
        remedy = f"Run {run} now, and find out what damaged the first one."
    elif since[0].unequal:
        what = f"Of the backup of {which}, {since[0].backup_id}, a restored copy was not equal."
        remedy = f"Run {run} now, and {facts.expected.dags.prove} for its result."
    else:
        what = f"The backup of {which}, {since[0].backup_id}, is not verified."
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
        f"Run {facts.expected.dags.prove} for it, and read the last red run of it, if there is one.",
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
            f"Open the run of {facts.expected.dags.back_up} and clear its task `copy_offsite`, or `verify_offsite`.",
        )  # fmt: skip
