"""What retention promises: rules by example, and what must hold for every catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_playbook.core.retention import RECENT, Candidate, Decision, RetentionPlan, RetentionPolicy, plan_retention

POLICY = RetentionPolicy()
NOW = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
NIGHT = timedelta(days=1)


def backup(taken_at: datetime | str, *, verified: bool = True, **state: bool) -> Candidate:
    moment = datetime.fromisoformat(taken_at).replace(tzinfo=UTC) if isinstance(taken_at, str) else taken_at
    return Candidate(f"{moment:%Y%m%dT%H%M%SZ}-7f3a91", moment, verified=verified, **state)


def nights(count: int, until: str = "2026-11-23 02:00:04") -> list[Candidate]:
    """One verified backup a night, the newest at `until`."""
    last = backup(until).taken_at
    return [backup(last - NIGHT * back) for back in range(count)]


def kept(plan: RetentionPlan) -> set[str]:
    return {decision.backup_id for decision in plan.keep}


def survivors(candidates: Iterable[Candidate], policy: RetentionPolicy, now: datetime) -> list[Candidate]:
    candidates = list(candidates)
    ids = kept(plan_retention(candidates, policy, now))
    return [one for one in candidates if one.backup_id in ids]


def the(plan: RetentionPlan, one: Candidate) -> Decision:
    return next(decision for decision in plan.decisions if decision.backup_id == one.backup_id)


# --- by example -------------------------------------------------------------------------------------------------------


def test_thirty_nights_are_kept_and_the_thirty_first_goes() -> None:
    pruned = survivors(nights(60, until="2026-11-28 02:00:04"), POLICY, NOW + 5 * NIGHT)
    plan = plan_retention([*pruned, backup("2026-11-29 02:00:04")], POLICY, NOW + 6 * NIGHT)

    assert [str(decision) for decision in plan.remove] == [
        "remove  20261030T020004Z-7f3a91  -        verified, 30 days before the newest verified; no rule keeps it"
    ]


def test_the_first_verified_backup_of_a_period_is_kept_and_says_how_long() -> None:
    monday_and_first_of_the_month = backup("2026-06-01 02:00:04")
    plan = plan_retention([monday_and_first_of_the_month, *nights(3)], POLICY, NOW)

    decision = the(plan, monday_and_first_of_the_month)
    assert decision.tier == "yearly"
    assert decision.reasons == (
        "first of 2026 (yearly until 2033-06-01)",
        "first of 2026-06 (monthly until 2027-06-01)",
    )  # 12 weeks and 30 days are over


def test_a_later_backup_never_takes_the_tier() -> None:
    monday, tuesday = backup("2026-11-16 02:00"), backup("2026-11-17 02:00")
    assert the(plan_retention([monday], POLICY, NOW), monday).tier == "yearly"
    plan = plan_retention([monday, tuesday], POLICY, NOW)
    assert (the(plan, monday).tier, the(plan, tuesday).tier) == ("yearly", "daily")


def test_weeks_are_iso_weeks_across_new_year() -> None:
    sunday, monday = backup("2027-01-03 02:00"), backup("2027-01-04 02:00")
    plan = plan_retention([backup("2026-12-28 02:00"), sunday, monday], POLICY, monday.taken_at)
    assert "first of 2026-W53 (weekly until 2027-03-22)" in plan.decisions[2].reasons
    assert not any("-W" in reason for reason in the(plan, sunday).reasons)
    assert "first of 2027-W01 (weekly until 2027-03-29)" in the(plan, monday).reasons


def test_a_leap_day_expires_on_a_day_that_exists() -> None:
    leap = backup("2028-02-29 02:00")
    plan = plan_retention([leap], RetentionPolicy(0, 0, 12, 7), leap.taken_at)
    assert the(plan, leap).reasons[:2] == (
        "first of 2028 (yearly until 2035-02-28)",
        "first of 2028-02 (monthly until 2029-02-28)",
    )


def test_days_are_days_of_utc() -> None:
    wall_clock = datetime(2026, 11, 23, 1, 0, tzinfo=timezone(timedelta(hours=9)))
    plan = plan_retention([Candidate("x", wall_clock, verified=True)], POLICY, NOW)
    assert "first of 2026-11-22 (daily until 2026-12-22)" in plan.decisions[0].reasons


def test_a_backup_taken_by_hand_outlives_the_night_but_not_forever() -> None:
    by_hand = backup("2026-11-20 14:00")  # a Friday; that night's backup is the first of the day
    day = [backup("2026-11-20 02:00"), by_hand]

    def decision(nights_later: int) -> Decision:
        later = [backup(NOW.replace(day=20) + NIGHT * back) for back in range(1, nights_later + 1)]
        return the(
            plan_retention([*nights(30, until="2026-11-19 02:00"), *day, *later], POLICY, NOW + 9 * NIGHT), by_hand
        )

    assert decision(nights_later=2).reasons == (
        "taken in the 48 hours up to the newest verified backup",
        "among the newest 3 verified",
    )
    assert decision(nights_later=3).action == "remove"


def test_an_outage_deletes_nothing_however_long_it_lasts() -> None:
    before = survivors(nights(120), POLICY, NOW)
    failing = [backup(NOW + NIGHT * night, verified=False) for night in range(1, 60)]
    assert plan_retention(before + failing, POLICY, NOW + 400 * NIGHT).remove == ()


def test_after_an_outage_the_floor_holds_what_the_rules_have_forgotten() -> None:
    policy = RetentionPolicy(daily=7, weekly=0, monthly=0, yearly=0, keep_newest=3)
    before, back = nights(7), backup("2027-03-01 02:00")
    assert kept(plan_retention([*before, back], policy, back.taken_at)) == {
        one.backup_id for one in (back, before[0], before[1])
    }


@pytest.mark.parametrize("bad", [{"verified": False}, {"verified": True, "rejected": True}])
def test_a_bad_backup_takes_no_period_from_a_good_one_and_goes(bad: dict[str, bool]) -> None:
    worse, good = backup("2026-11-16 02:00", **bad), backup("2026-11-16 05:00")
    plan = plan_retention([worse, good, *nights(3)], POLICY, NOW)
    assert the(plan, worse).action == "remove"
    assert the(plan, good).tier == "yearly"


def test_the_only_backup_of_a_period_stays_although_a_check_of_it_failed() -> None:
    damaged = backup("2024-03-01 02:00", rejected=True)
    decision = the(plan_retention([damaged, *nights(400)], POLICY, NOW), damaged)
    assert decision.reasons == (
        "failed its last verification",
        "nothing better is left of 2024 (yearly until 2031-03-01)",
    )
    assert decision.tier == "yearly"


def test_nothing_goes_while_nothing_is_verified() -> None:
    old = [backup("2019-01-01 02:00", verified=False), backup("2019-01-02 02:00", rejected=True)]
    plan = plan_retention(old, POLICY, NOW)
    assert plan.remove == ()
    assert plan.keep[0].reasons == (
        "failed its last verification",
        "there is no verified backup that could replace it",
    )


def test_an_unverified_backup_waits_for_a_newer_verified_one() -> None:
    waiting = backup("2026-11-24 02:00", verified=False)
    plan = plan_retention([*nights(2), waiting], POLICY, NOW + NIGHT)
    assert the(plan, waiting).reasons[0] == "not verified"
    assert "no newer verified backup replaces it" in the(plan, waiting).reasons


def test_a_backup_from_the_future_stays_and_counts_for_nothing() -> None:
    future = backup("2031-01-01 02:00", proven=True)
    candidates = nights(60)
    plan = plan_retention([future, *candidates], POLICY, NOW)
    assert the(plan, future) == Decision(
        future.backup_id,
        "keep",
        ("dated in the future and does not count; check the clock of the worker that took it",),
    )
    assert plan.decisions[1:] == plan_retention(candidates, POLICY, NOW).decisions


def test_held_and_newest_proven_stay_although_no_rule_keeps_them() -> None:
    proven, held = backup("2026-06-11 02:00", proven=True), backup("2026-06-10 02:00", held=True)
    plan = plan_retention(
        [backup("2026-06-01 02:00"), backup("2026-06-08 02:00"), held, proven, *nights(3)], POLICY, NOW
    )
    assert the(plan, proven) == Decision(proven.backup_id, "keep", ("newest that a restore has proven",))
    assert the(plan, held) == Decision(held.backup_id, "keep", ("held",))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (lambda: RetentionPolicy(keep_newest=0), "keep_newest must be at least 1"),
        (lambda: RetentionPolicy(weekly=-1), "cannot be negative"),
        (lambda: Candidate("x", datetime(2026, 1, 1), verified=True), "no time zone"),  # noqa: DTZ001
        (lambda: plan_retention([], POLICY, datetime(2026, 1, 1)), "no time zone"),  # noqa: DTZ001
        (lambda: plan_retention(nights(1) * 2, POLICY, NOW), "same backup id"),
    ],
)
def test_wrong_arguments_are_refused(wrong: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        wrong()


# --- for every catalog ------------------------------------------------------------------------------------------------

policies = st.builds(
    RetentionPolicy,
    daily=st.integers(0, 40),
    weekly=st.integers(0, 13),
    monthly=st.integers(0, 13),
    yearly=st.integers(0, 8),
    keep_newest=st.integers(1, 5),
)


@st.composite
def catalogs(draw: st.DrawFn, max_size: int = 40) -> list[Candidate]:
    """Backups in any state over several years, dense enough to meet in days and weeks, and some after NOW."""
    hours = draw(
        st.lists(
            st.one_of(st.integers(-48, 96), st.integers(0, 24 * 45), st.integers(0, 24 * 365 * 9)),
            max_size=max_size,
            unique=True,
        )
    )
    flags = st.booleans()
    return [
        backup(
            NOW - timedelta(hours=hour),
            verified=draw(flags),
            proven=draw(flags),
            held=draw(flags),
            rejected=draw(flags),
        )
        for hour in hours
    ]


def newest(candidates: Sequence[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda one: one.taken_at, reverse=True)


@given(catalogs(), policies)
def test_what_must_never_go(candidates: list[Candidate], policy: RetentionPolicy) -> None:
    past = [one for one in candidates if one.taken_at <= NOW]
    sound = newest([one for one in past if one.sound])
    untouchable = [one for one in candidates if one.held or one.taken_at > NOW]
    untouchable += sound[: policy.keep_newest]
    untouchable += [one for one in sound if one.proven][:1]
    untouchable += [one for one in past if not sound or one.taken_at > sound[0].taken_at - RECENT]

    assert {one.backup_id for one in untouchable} <= kept(plan_retention(candidates, policy, NOW))


@given(catalogs(), policies)
def test_every_backup_gets_one_decision_with_reasons_newest_first(
    candidates: list[Candidate], policy: RetentionPolicy
) -> None:
    plan = plan_retention(candidates, policy, NOW)
    assert [decision.backup_id for decision in plan.decisions] == [one.backup_id for one in newest(candidates)]
    assert all(decision.reasons and all(decision.reasons) for decision in plan.decisions)
    assert all(decision.tier is None for decision in plan.remove)


@given(catalogs(), policies)
def test_every_sound_period_that_is_young_enough_is_covered(
    candidates: list[Candidate], policy: RetentionPolicy
) -> None:
    sound = newest([one for one in candidates if one.sound and one.taken_at <= NOW])
    remaining = kept(plan_retention(candidates, policy, NOW))
    for one in sound:
        age = (sound[0].taken_at.date() - one.taken_at.date()).days
        same_day = [other for other in sound if other.taken_at.date() == one.taken_at.date()]
        same_month = [other for other in sound if f"{other.taken_at:%Y-%m}" == f"{one.taken_at:%Y-%m}"]
        if age < policy.daily:
            assert same_day[-1].backup_id in remaining
        if age < policy.monthly * 28 and one is same_month[-1]:
            assert one.backup_id in remaining


@given(catalogs(), policies, st.randoms())
def test_the_order_of_the_input_does_not_matter(
    candidates: list[Candidate], policy: RetentionPolicy, random: object
) -> None:
    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan_retention(shuffled, policy, NOW) == plan_retention(candidates, policy, NOW)


@given(catalogs(), policies)
def test_pruning_twice_removes_nothing_more(candidates: list[Candidate], policy: RetentionPolicy) -> None:
    assert plan_retention(survivors(candidates, policy, NOW), policy, NOW).remove == ()


@given(catalogs(), policies, st.integers(0, 5000))
def test_time_alone_removes_nothing(candidates: list[Candidate], policy: RetentionPolicy, days: int) -> None:
    past = [one for one in candidates if one.taken_at <= NOW]
    assert plan_retention(past, policy, NOW + NIGHT * days) == plan_retention(past, policy, NOW)


@given(
    catalogs(), policies, st.sampled_from(["daily", "weekly", "monthly", "yearly", "keep_newest"]), st.integers(1, 9)
)
def test_a_longer_rule_never_removes_more(
    candidates: list[Candidate], policy: RetentionPolicy, rule: str, more: int
) -> None:
    longer = replace(policy, **{rule: getattr(policy, rule) + more})
    assert kept(plan_retention(candidates, policy, NOW)) <= kept(plan_retention(candidates, longer, NOW))


@given(catalogs(), policies)
def test_a_hold_adds_one_reason_and_changes_nothing_else(candidates: list[Candidate], policy: RetentionPolicy) -> None:
    free = [replace(one, held=False) for one in candidates]
    held = [replace(one, held=index == 0) for index, one in enumerate(candidates)]
    before, after = plan_retention(free, policy, NOW), plan_retention(held, policy, NOW)
    changed = [new for old, new in zip(before.decisions, after.decisions, strict=True) if old != new]
    assert [decision.backup_id for decision in changed] == [one.backup_id for one in held[:1]]


@given(catalogs(), policies, st.integers(1, 24 * 365 * 9))
def test_one_more_old_backup_costs_at_most_its_periods_and_its_place_in_the_floor(
    candidates: list[Candidate], policy: RetentionPolicy, hours: int
) -> None:
    sound = newest([one for one in candidates if one.sound and one.taken_at <= NOW])
    clock = sound[0].taken_at if sound else NOW
    more = replace(backup(clock - timedelta(hours=hours, minutes=30), proven=True), backup_id="one more")
    lost = kept(plan_retention(candidates, policy, NOW)) - kept(plan_retention([*candidates, more], policy, NOW))
    if sound:  # else it is the first backup that could replace the others
        assert len(lost) <= 6  # four periods, the floor, newest proven
