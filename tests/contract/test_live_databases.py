"""What every engine with a live database must do to it. A new engine joins with an adapter in live.py."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from backup_playbook.config import Source
from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.core.model import Manifest
from backup_playbook.core.promotion import quarantine_name
from backup_playbook.engines.scratch import scratch_name
from tests.contract.live import ABILITIES, Exchange, LiveDatabase
from tests.contract.scenes import ORDERS, Scene
from tests.integration.postgres.lab import SOURCE, Lab

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

    def next_quarantine(self) -> str:
        return quarantine_name(self.scene.name, LATER)


def copy_beside(scene: Scene, backup: tuple[Lab, Manifest], now: datetime = NOW) -> Exchange:
    lab, manifest = backup
    quarantine = quarantine_name(scene.name, now)
    inspected = scene.live.inspect(lab.reader(manifest), quarantine)
    copy = scene.live.copy_beside(scratch_name(SOURCE), RUN)
    lab.restore_into(copy, manifest)
    lab.prove(copy, manifest)
    return Exchange(inspected.identity, copy.name, scene.live.identify(copy), quarantine, RUN, now)


@pytest.fixture
def recovery(scene: Scene, backup: tuple[Lab, Manifest]) -> Recovery:
    good = scene.contents()
    scene.damage()
    bad, rows = scene.contents(), scene.rows()
    exchange = copy_beside(scene, backup)
    assert scene.contents() == bad  # until then nothing is touched
    return Recovery(scene, exchange, good, bad, rows)


def test_every_engine_says_what_it_can_do() -> None:
    """Production of a source is changed only where its configuration has `recovery`."""
    models = get_args(get_args(Source)[0])
    can = {get_args(one.model_fields["engine"].annotation)[0]: "recovery" in one.model_fields for one in models}
    assert {engine: bool(abilities) for engine, abilities in ABILITIES.items()} == can
    assert ABILITIES["files"] == ()


def test_rows_are_counted_as_they_are_now(scene: Scene) -> None:
    assert scene.live.count() == scene.counted(ORDERS)
    scene.delete(1)
    assert scene.live.count() == scene.counted(ORDERS - 1)


def test_inspection_touches_nothing(scene: Scene, backup: tuple[Lab, Manifest]) -> None:
    lab, manifest = backup
    then = scene.contents()
    scene.live.inspect(lab.reader(manifest), quarantine_name(scene.name, NOW))
    assert scene.contents() == then
    assert scene.leftovers() == set()


def test_missing_rights_are_named_before_anything_is_touched(scene: Scene, backup: tuple[Lab, Manifest]) -> None:
    lab, manifest = backup
    with pytest.raises(RestoreError, match="weak") as caught:
        scene.without_rights().inspect(lab.reader(manifest), quarantine_name(scene.name, NOW))
    assert "Nothing was touched" in caught.value.remedy
    assert scene.leftovers() == set()


def test_copy_beside_production_is_a_scratch(scene: Scene, backup: tuple[Lab, Manifest]) -> None:
    then = scene.contents()
    exchange = copy_beside(scene, backup)
    copy = scene.live.copy_beside(exchange.candidate, "")
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
    recovery.live.copy_beside(recovery.exchange.candidate, RUN).drop()
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
        assert (found.name, found.live, found.source) == (name, recovery.scene.name, recovery.live.source)
        assert (found.by, found.quarantined_at, found.bytes > 0) == (RUN, NOW, True)
    with pytest.raises(GuardError, match=f"(?s)no quarantine 'another'.*{name}"):
        recovery.live.find_quarantine("another")


def test_quarantine_comes_back_and_what_was_live_becomes_one(recovery: Recovery) -> None:
    recovery.promote()
    recovery.scene.go_on()
    then = recovery.scene.rows()
    found, following = recovery.live.find_quarantine("newest"), recovery.next_quarantine()
    for _ in range(2):
        recovery.live.roll_back(found, following, "a rollback", LATER)
        assert recovery.scene.contents() == recovery.bad
    assert recovery.scene.is_closed(following)
    assert recovery.scene.rows_aside(following) == then
    again = recovery.live.find_quarantine("newest").quarantine
    assert (again.name, again.by, again.quarantined_at) == (following, "a rollback", LATER)
    with pytest.raises(GuardError, match="no quarantine"):
        recovery.live.find_quarantine(recovery.exchange.quarantine)


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
    for _ in range(2):
        recovery.live.release(recovery.exchange.quarantine)
    assert recovery.scene.leftovers() == set()
    assert recovery.scene.contents() == recovery.good
    with pytest.raises(GuardError, match="no quarantine"):
        recovery.live.find_quarantine(recovery.exchange.quarantine)


def test_proven_scratch_is_kept_under_a_name(scene: Scene, backup: tuple[Lab, Manifest]) -> None:
    lab, manifest = backup
    name, then = f"{scene.name}_kept", scene.contents()
    scene.live.require_new(name)
    scratch = scene.live.staging(name)
    lab.restore_into(scratch, manifest)
    lab.prove(scratch, manifest)
    for _ in range(2):
        scene.live.keep(scratch, name)
    assert scratch.name not in [one.name for one in scratch.host.list_scratches()]
    assert scene.leftovers() == {name}
    assert scene.rows(name) == scene.rows()
    with pytest.raises(GuardError, match="is not a scratch"):
        scratch.host.drop(name)
    with pytest.raises(RestoreError, match=f"There is a database {name} already"):
        scene.live.require_new(name)
    assert scene.contents() == then


@pytest.mark.parametrize("name", ["scratch_shop_00000000", "Shop", "shop;", "shop copy"])
def test_name_that_means_something_is_not_given(scene: Scene, name: str) -> None:
    with pytest.raises(RestoreError, match="Nothing was done"):
        scene.live.require_new(name)


def test_what_is_no_scratch_is_not_kept(scene: Scene) -> None:
    then = scene.contents()
    for name in (f"{scene.name}_never", scene.name):
        with pytest.raises((GuardError, RestoreError)):
            scene.live.keep(scene.live.staging(name), name)
    assert scene.contents() == then
