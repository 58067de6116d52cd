"""Retention: the choice of the backups of one source that stay and that go, with reasons.

The rules are the playbook's ("daily 30 days, weekly 12 weeks, monthly 12 months, yearly 7 years"), made precise:

* **A rule keeps the first verified backup of each calendar period** (day, ISO week, month, year; all in UTC). First,
  not newest: what was first stays first, so a backup's tier is known on its first night and later backups cannot take
  it away. "Newest of the month" would hand the tier on every night, and would move every object tag with it. The first
  of a year is also the first of its month and of its day, so the tiers leave no gap between them.
* **Ages are counted in calendar days against the newest verified backup, not against the clock.** When backups stop,
  retention stops with them: an outage of weeks deletes nothing, however often it is pruned.
* **A backup that is not verified never takes a period from one that is.** It fills a period only while nothing better
  is left of it: deleting the only copy of March because a check of it failed turns one bad block into a lost month.
* **Nothing goes before something verified replaced it**, and everything of the last 48 hours stays, so that the backup
  taken manually before a migration outlives the night.
* The newest ``keep_newest`` verified backups, the newest proven one, and whatever is held always stay.
* A backup dated in the future (a worker's clock was wrong) stays and counts for nothing, until its time has come.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

Tier = Literal["yearly", "monthly", "weekly", "daily"]
Action = Literal["keep", "remove"]

RECENT = timedelta(hours=48)


@dataclass(frozen=True)
class RetentionPolicy:
    """Rules of retention: the time that the first verified backup of each period is kept.

    ``daily`` is in days, ``weekly`` in weeks, ``monthly`` in months, ``yearly`` in years; 0 switches a rule off.
    ``keep_newest`` is the floor: that many of the newest verified backups are never removed, whatever their age.

    Raises ValueError if a number is negative, or ``keep_newest`` is below 1.
    """

    daily: int = 30
    weekly: int = 12
    monthly: int = 12
    yearly: int = 7
    keep_newest: int = 3

    def __post_init__(self) -> None:
        if min(self.daily, self.weekly, self.monthly, self.yearly) < 0:
            raise ValueError(f"a retention rule cannot be negative: {self}")
        if self.keep_newest < 1:
            raise ValueError(f"keep_newest must be at least 1, or an old policy could remove the last backup: {self}")


@dataclass(frozen=True)
class Candidate:
    """One sealed backup, as retention sees it.

    ``verified``: its stored bytes were re-read and found right. ``proven``: it was restored and equal. ``rejected``:
    the *latest* check of it failed, which overrules both. ``unequal``: a restored copy was not what was backed up,
    which does so, too. ``held``: somebody asked for it to stay.

    Raises ValueError if ``taken_at`` has no time zone.
    """

    backup_id: str
    taken_at: datetime
    verified: bool
    proven: bool = False
    held: bool = False
    rejected: bool = False
    unequal: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "taken_at", _utc(self.taken_at))

    @property
    def sound(self) -> bool:
        """Whether the backup counts: it was checked, and nothing speaks against it."""
        return (self.verified or self.proven) and not self.rejected and not self.unequal


@dataclass(frozen=True)
class Decision:
    """The fate of one backup. ``reasons`` are short phrases for people, never empty, the weightiest first.

    ``tier`` is the longest-lived rule that keeps the backup (storage lifecycle rules go by it), None if no rule does.
    """

    backup_id: str
    action: Action
    reasons: tuple[str, ...]
    tier: Tier | None = None

    def __str__(self) -> str:
        return f"{self.action:<6}  {self.backup_id}  {self.tier or '-':<7}  {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class RetentionPlan:
    """The decisions on all backups of one source, newest backup first."""

    decisions: tuple[Decision, ...]

    @property
    def keep(self) -> tuple[Decision, ...]:
        """The backups that stay, newest first."""
        return tuple(decision for decision in self.decisions if decision.action == "keep")

    @property
    def remove(self) -> tuple[Decision, ...]:
        """The backups that go, newest first."""
        return tuple(decision for decision in self.decisions if decision.action == "remove")

    def __str__(self) -> str:
        """The plan as text: a line of totals, then a line for each backup."""
        totals = f"keep {len(self.keep)}, remove {len(self.remove)} of {len(self.decisions)} backups"
        return "\n".join([totals, *map(str, self.decisions)])


@dataclass(frozen=True)
class _Rule:
    """A rule that is switched on.

    ``period``: strftime format that names a backup's calendar period. ``until``: from the day of a backup, the first
    day on which the rule no longer keeps it.
    """

    tier: Tier
    period: str
    until: Callable[[date], date]


@dataclass(frozen=True)
class _Claim:
    """One reason to keep one backup."""

    backup_id: str
    reason: str
    tier: Tier | None = None


def plan_retention(candidates: Iterable[Candidate], policy: RetentionPolicy, now: datetime) -> RetentionPlan:
    """Decide for every backup of **one** source whether it stays or goes, and why (rules: see the module).

    The plan does not depend on the order of the candidates, and ``now`` only tells which of them lie in the future. A
    second plan for what the first one keeps removes nothing more.

    Raises ValueError if ``now`` has no time zone or two candidates have one id.
    """
    now = _utc(now)
    newest_first = sorted(candidates, key=lambda one: (one.taken_at, one.backup_id), reverse=True)
    if len({one.backup_id for one in newest_first}) < len(newest_first):
        raise ValueError("two candidates have the same backup id; pass the backups of one source only, each once")

    past = [one for one in newest_first if one.taken_at <= now]
    sound = [one for one in past if one.sound]

    claims: dict[str, list[_Claim]] = {one.backup_id: [] for one in newest_first}
    for claim in _claims(newest_first, past, sound, policy):
        claims[claim.backup_id].append(claim)
    return RetentionPlan(tuple(_decide(one, claims[one.backup_id], sound) for one in newest_first))


def _claims(
    everything: Sequence[Candidate], past: Sequence[Candidate], sound: Sequence[Candidate], policy: RetentionPolicy
) -> Iterator[_Claim]:
    """Every reason to keep every backup. All arguments are newest first."""
    for one in everything:
        if one.held:
            yield _Claim(one.backup_id, "held")
    for one in everything[: len(everything) - len(past)]:
        yield _Claim(
            one.backup_id, "dated in the future and does not count; check the clock of the worker that took it"
        )
    if not sound:
        for one in past:
            yield _Claim(one.backup_id, "there is no verified backup that could replace it")
        return
    for rule in _rules(policy):
        yield from _claims_of_rule(rule, past, sound[0].taken_at.date())
    yield from _claims_of_recent(past, sound[0])
    yield from _claims_of_floor(sound, policy.keep_newest)


def _rules(policy: RetentionPolicy) -> Iterator[_Rule]:
    """The rules that are switched on, longest-lived tier first."""
    if policy.yearly:
        yield _Rule("yearly", "%Y", lambda day: _months_later(day, 12 * policy.yearly))
    if policy.monthly:
        yield _Rule("monthly", "%Y-%m", lambda day: _months_later(day, policy.monthly))
    if policy.weekly:
        yield _Rule("weekly", "%G-W%V", lambda day: day + timedelta(weeks=policy.weekly))
    if policy.daily:
        yield _Rule("daily", "%Y-%m-%d", lambda day: day + timedelta(days=policy.daily))


def _claims_of_rule(rule: _Rule, past: Sequence[Candidate], today: date) -> Iterator[_Claim]:
    first: dict[str, Candidate] = {}
    for one in past:  # newest first: an older backup of equal standing replaces a newer one
        period = one.taken_at.strftime(rule.period)
        if period not in first or one.sound >= first[period].sound:
            first[period] = one
    for period, one in first.items():
        until = rule.until(one.taken_at.date())
        if until > today:
            standing = "first of" if one.sound else "nothing better is left of"
            yield _Claim(one.backup_id, f"{standing} {period} ({rule.tier} until {until})", rule.tier)


def _claims_of_recent(past: Sequence[Candidate], newest: Candidate) -> Iterator[_Claim]:
    for one in past:
        if one.taken_at > newest.taken_at:
            yield _Claim(one.backup_id, "no newer verified backup replaces it")
        elif newest.taken_at - one.taken_at < RECENT:
            yield _Claim(one.backup_id, "taken in the 48 hours up to the newest verified backup")


def _claims_of_floor(sound: Sequence[Candidate], keep_newest: int) -> Iterator[_Claim]:
    for one in sound[:keep_newest]:
        yield _Claim(one.backup_id, f"among the newest {keep_newest} verified")
    for one in [one for one in sound if one.proven][:1]:
        yield _Claim(one.backup_id, "newest that a restore has proven")


def _decide(one: Candidate, claims: Sequence[_Claim], sound: Sequence[Candidate]) -> Decision:
    if claims:
        tier = next((claim.tier for claim in claims if claim.tier), None)
        state = () if one.sound else (_state(one),)
        return Decision(one.backup_id, "keep", (*state, *(claim.reason for claim in claims)), tier)
    # Nothing comes here without a newer verified backup: all others have a claim.
    age = (sound[0].taken_at.date() - one.taken_at.date()).days
    reason = f"{_state(one)}, {age} days before the newest verified; no rule keeps it"
    return Decision(one.backup_id, "remove", (reason,))


def _months_later(day: date, months: int) -> date:
    """The same day of the month, or the month's last one: 29 February and a year is 28 February."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _state(one: Candidate) -> str:
    if one.rejected:
        return "failed its last verification"
    if one.unequal:
        return "a restored copy was not equal"
    return "verified" if one.sound else "not verified"


def _utc(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; retention counts in UTC")
    return moment.astimezone(UTC)
