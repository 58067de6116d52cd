"""What every engine with a live database must do to it. See abilities.py for who has one."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from backup_playbook.config import Source
from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.core.model import Manifest
from backup_playbook.core.promotion import quarantine_name
from backup_playbook.engines.live_database import Exchange, LiveDatabase
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.streams.processes import Cancellation
from tests.contract.abilities import ABILITIES
from tests.contract.scenes import ORDERS, Scene
from tests.integration.postgres.lab import SOURCE, Lab
from tests.support.example_engine.settings import SqliteSource

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
RUN = "a dag|a run"


@dataclass
class Recovery:
    """A proven copy beside a damaged database. good, bad: what applications found before, and find now."""

    scene: Scene
    exchange: Exchange
    good: object
    bad: object
    bad_rows: object

    @property
    def live(self) -> LiveDatabase:
        return self.scene.live

    def promote(self) -> None:
        self.live.promote(self.exchange)

    def return_of(self, wanted: str, quarantine: str) -> Exchange:
        """The exchange by which a quarantine comes back."""
        found = self.live.find_quarantine(wanted)
        live, returning = (self.scene.name, found.live_id), found.quarantine
        return Exchange(*live, returning.name, found.quarantine_id, quarantine, "a rollback", LATER, returning)


def copy_beside(scene: Scene, backup: tuple[Lab, Manifest], now: datetime = NOW) -> Exchange:
    lab, manifest = backup
    quarantine = quarantine_name(scene.name, now)
    inspected = scene.live.inspect(lab.reader(manifest), quarantine)
    copy = scene.live.side_by_side(scratch_name(SOURCE), RUN)
    lab.restore_into(copy, manifest)
    lab.prove(copy, manifest)
    return Exchange(scene.live.name, inspected.live_id, copy.name, copy.identify(), quarantine, RUN, now)


@pytest.fixture
def recovery(scene: Scene, good: object, backup: tuple[Lab, Manifest]) -> Recovery:
    scene.damage()
    bad, rows = scene.contents(), scene.rows()
    exchange = copy_beside(scene, backup)
    assert scene.contents() == bad  # until then nothing is touched
    return Recovery(scene, exchange, good, bad, rows)


def test_every_engine_says_what_it_can_do() -> None:
    """Production of a source is changed only where its configuration has `recovery`."""
    models = (*get_args(get_args(Source)[0]), SqliteSource)
    can = {get_args(one.model_fields["engine"].annotation)[0]: "recovery" in one.model_fields for one in models}
    assert {engine: bool(abilities) for engine, abilities in ABILITIES.items()} == can
    assert ABILITIES["files"] == ()


def test_rows_are_counted_as_they_are_now(scene: Scene) -> None:
    assert scene.live.count() == scene.counted(ORDERS)
    scene.delete(1)
    assert scene.live.count() == scene.counted(ORDERS - 1)


def test_inspection_touches_nothing_and_names_missing_rights(scene: Scene, backup: tuple[Lab, Manifest]) -> None:
    lab, manifest = backup
    then, quarantine = scene.contents(), quarantine_name(scene.name, NOW)
    scene.live.inspect(lab.reader(manifest), quarantine)
    with pytest.raises(RestoreError, match="weak") as caught:
        scene.without_rights().inspect(lab.reader(manifest), quarantine)
    assert "Nothing was touched" in caught.value.remedy
    assert scene.contents() == then
    assert scene.leftovers() == set()


def test_copy_beside_production_is_a_scratch(scene: Scene, backup: tuple[Lab, Manifest]) -> None:
    then = scene.contents()
    exchange = copy_beside(scene, backup)
    copy = scene.live.side_by_side(exchange.candidate, "")
    assert [(one.name, one.owner) for one in copy.host.list_scratches() if one.name == copy.name] == [(copy.name, RUN)]
    for _ in range(2):
        copy.drop()
    assert scene.contents() == then
    assert scene.leftovers() == set()


def test_copy_takes_the_place_of_production_with_owners_and_grants(recovery: Recovery) -> None:
    assert recovery.bad != recovery.good
    assert recovery.live.promote(recovery.exchange).unreachable_seconds > 0
    there = recovery.scene.leftovers()
    assert recovery.live.promote(recovery.exchange).unreachable_seconds == 0  # can be repeated
    assert recovery.scene.leftovers() == there
    assert recovery.scene.contents() == recovery.good
    assert recovery.live.count() == recovery.scene.counted(ORDERS)
    assert recovery.scene.is_closed(recovery.exchange.quarantine)
    assert recovery.scene.rows_aside(recovery.exchange.quarantine) == recovery.bad_rows


def test_copy_that_is_gone_is_not_promoted(recovery: Recovery) -> None:
    recovery.live.side_by_side(recovery.exchange.candidate, RUN).drop()
    with pytest.raises(GuardError):
        recovery.promote()
    assert recovery.scene.contents() == recovery.bad
    assert recovery.scene.leftovers() == set()


def test_another_database_than_planned_is_not_replaced(recovery: Recovery) -> None:
    recovery.scene.replace()
    there = recovery.scene.leftovers()
    with pytest.raises(GuardError, match="Nothing was touched"):
        recovery.promote()
    with pytest.raises(GuardError):
        recovery.live.reopen(recovery.exchange)
    assert recovery.scene.contents() == recovery.good
    assert recovery.scene.leftovers() == there


def test_two_copies_of_one_plan_do_not_replace_each_other(recovery: Recovery, backup: tuple[Lab, Manifest]) -> None:
    """The second would replace what the first has just recovered."""
    second = copy_beside(recovery.scene, backup, LATER)
    recovery.promote()
    recovery.scene.go_on()
    then, there = recovery.scene.contents(), recovery.scene.leftovers()
    for again in (recovery.live.promote, recovery.live.reopen):
        with pytest.raises(GuardError, match="Nothing was touched"):
            again(second)
    assert recovery.scene.contents() == then
    assert recovery.scene.leftovers() == there


def test_quarantine_does_not_replace_another_than_planned(recovery: Recovery, backup: tuple[Lab, Manifest]) -> None:
    recovery.promote()
    back = recovery.return_of("newest", quarantine_name(recovery.live.name, LATER + timedelta(hours=1)))
    recovery.live.promote(copy_beside(recovery.scene, backup, LATER))
    then, there = recovery.scene.contents(), recovery.scene.leftovers()
    with pytest.raises(GuardError, match="Nothing was touched"):
        recovery.live.promote(back)
    assert recovery.scene.contents() == then
    assert recovery.scene.leftovers() == there


def test_reopening_what_is_open_does_nothing(recovery: Recovery) -> None:
    assert recovery.live.reopen(recovery.exchange) == "before"
    assert recovery.scene.contents() == recovery.bad
    recovery.promote()
    assert recovery.live.reopen(recovery.exchange) == "promoted"
    assert recovery.scene.contents() == recovery.good


def test_half_done_promotion_is_taken_back_and_can_be_done_again(recovery: Recovery) -> None:
    with recovery.scene.dying_half_way():
        recovery.promote()
    assert recovery.scene.contents() not in (recovery.good, recovery.bad)
    assert recovery.live.reopen(recovery.exchange) != "promoted"
    assert recovery.scene.contents() == recovery.bad
    recovery.promote()
    assert recovery.scene.contents() == recovery.good


def test_half_done_promotion_goes_on_where_it_was(recovery: Recovery) -> None:
    with recovery.scene.dying_half_way():
        recovery.promote()
    recovery.promote()
    assert recovery.scene.contents() == recovery.good
    assert recovery.scene.rows_aside(recovery.exchange.quarantine) == recovery.bad_rows


def test_quarantine_is_found(recovery: Recovery) -> None:
    with pytest.raises(GuardError, match="no quarantine"):
        recovery.live.find_quarantine("newest")
    recovery.promote()
    name = recovery.exchange.quarantine
    for wanted in ("newest", name):
        found = recovery.live.find_quarantine(wanted).quarantine
        assert (found.name, found.live, found.source) == (name, recovery.scene.name, recovery.scene.name)
        assert (found.by, found.quarantined_at, found.bytes > 0) == (RUN, NOW, True)
    with pytest.raises(GuardError, match=f"(?s)no quarantine 'another'.*{name}"):
        recovery.live.find_quarantine("another")
    with pytest.raises(GuardError, match="no quarantine of another"):
        recovery.scene.of("another").find_quarantine("newest")


def test_quarantine_comes_back_and_what_was_live_becomes_one(recovery: Recovery) -> None:
    recovery.promote()
    recovery.scene.go_on()
    then, first, second = (
        recovery.scene.rows(),
        recovery.exchange.quarantine,
        quarantine_name(recovery.live.name, LATER),
    )
    back = recovery.return_of("newest", second)
    for _ in range(2):
        recovery.live.promote(back)
        assert recovery.scene.contents() == recovery.bad
    assert recovery.scene.is_closed(second)
    assert recovery.scene.rows_aside(second) == then
    again = recovery.live.find_quarantine("newest").quarantine
    assert (again.name, again.by, again.quarantined_at) == (second, "a rollback", LATER)
    with pytest.raises(GuardError, match=f"(?s)no quarantine .*{second}"):
        recovery.live.find_quarantine(first)
    recovery.live.promote(recovery.return_of(second, first))
    assert recovery.scene.rows() == then


def test_newest_quarantine_is_the_one_of_the_last_exchange(recovery: Recovery, backup: tuple[Lab, Manifest]) -> None:
    recovery.promote()
    second = copy_beside(recovery.scene, backup, LATER)
    recovery.live.promote(second)
    assert recovery.live.find_quarantine("newest").quarantine.name == second.quarantine
    assert recovery.live.find_quarantine(recovery.exchange.quarantine).quarantine.quarantined_at == NOW
    recovery.live.release(second.quarantine)
    assert recovery.live.find_quarantine("newest").quarantine.name == recovery.exchange.quarantine


def test_released_quarantine_is_gone_for_good(recovery: Recovery) -> None:
    with pytest.raises(GuardError):
        recovery.live.release(recovery.exchange.candidate)
    recovery.promote()
    with pytest.raises(GuardError, match="of another"):
        recovery.scene.of("another").release(recovery.exchange.quarantine)
    assert recovery.scene.is_closed(recovery.exchange.quarantine)
    for _ in range(2):
        recovery.live.release(recovery.exchange.quarantine)
    assert recovery.scene.leftovers() == set()
    assert recovery.scene.contents() == recovery.good
    with pytest.raises(GuardError, match="no quarantine"):
        recovery.live.find_quarantine(recovery.exchange.quarantine)


def test_proven_scratch_is_kept_under_a_name(scene: Scene, backup: tuple[Lab, Manifest]) -> None:
    lab, manifest = backup
    name, then = f"{scene.name}_kept", scene.contents()
    scene.staging.require_room(name, manifest.content_bytes)
    scratch = scene.staging.scratch(scene.staging.new_name(SOURCE, name), RUN)
    lab.restore_into(scratch, manifest)
    lab.prove(scratch, manifest)
    assert not scratch.is_kept(name)
    for _ in range(2):
        scratch.keep(name)
        assert scratch.is_kept(name)
    assert scratch.name not in [one.name for one in scene.staging.list_scratches()]
    assert scene.leftovers() == {name}
    assert scene.rows(name) == scene.rows()
    with pytest.raises(GuardError, match="is not a scratch"):
        scene.staging.drop(name)
    with pytest.raises(RestoreError, match=f"There is a database {name} already"):
        scene.staging.require_room(name, 0)
    assert scene.contents() == then


def test_name_that_means_something_is_not_given(production: Scene) -> None:
    for name in ("scratch_shop_00000000", "Shop", "shop;", "shop copy"):
        with pytest.raises(RestoreError, match="Nothing was done"):
            production.staging.require_room(name, 0)


def test_what_is_no_scratch_is_not_kept(scene: Scene) -> None:
    then = scene.contents()
    for name in ("scratch_shop_00000000", scene.name):
        with pytest.raises((GuardError, RestoreError)):
            scene.staging.scratch(name).keep(name)
    assert scene.contents() == then


def test_quarantine_is_compared_with_what_replaced_it(recovery: Recovery) -> None:
    recovery.promote()
    found = recovery.live.investigate(recovery.live.name, recovery.exchange.quarantine, Cancellation())
    assert [(one["before"], one["after"]) for one in found.differences] == [(ORDERS - 2, ORDERS), (1, None)]
    assert recovery.scene.is_closed(recovery.exchange.quarantine)
    recovery.live.require_usable()
