"""What every engine that recovers single records must do. See abilities.py for who they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from backup_playbook.core.errors import GuardError, RepositoryError, VerificationError
from backup_playbook.core.model import Manifest
from backup_playbook.core.row_recovery import OnConflict, Preview, RecoveredRows, RowRecoveryError
from backup_playbook.engines.contract import ScratchTarget
from backup_playbook.engines.record_recovery import RecordRecovery, WantedRecords
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.repository.layout import objects_folder
from tests.contract.scenes import ORDERS, Scene
from tests.integration.postgres.lab import SOURCE, Lab
from tests.support.damage import flip_a_bit

AS_BACKED_UP = {number: ("paid", f"m{number}") for number in range(1, ORDERS + 1)}
CHANGED = {number: ("changed", mail) for number, (_, mail) in AS_BACKED_UP.items()}
KEPT = "beside the reports"
UNSOLVED: tuple[OnConflict, ...] = ("stop", "overwrite")


@dataclass
class Loss:
    """Orders that a database has lost, and the way to get them back.

    undo: what was kept. then: all rows when it was.
    """

    scene: Scene
    lab: Lab
    manifest: Manifest
    scratch: ScratchTarget
    records: RecordRecovery | None = None
    undo: bytes = b""
    then: Any = None

    @property
    def asked(self) -> RecordRecovery:
        assert self.records
        return self.records

    def find(self, *keys: str, condition: str = "") -> None:
        self.records = self.scene.records(WantedRecords("orders", keys, condition))
        self.asked.understand()
        self.scratch.create(self.manifest)
        self.load()

    def load(self) -> None:
        self.asked.load(self.scratch, self.lab.reader(self.manifest), self.lab.cancellation)

    def preview(self, on_conflict: OnConflict = "stop") -> Preview:
        return self.asked.preview(self.scratch, on_conflict)

    def counts(self, on_conflict: OnConflict = "stop") -> dict[Any, int]:
        (table,) = self.preview(on_conflict).tables
        return table.counts

    def bring_back(self, on_conflict: OnConflict = "stop", seen: Preview | None = None) -> RecoveredRows:
        seen = seen or self.preview(on_conflict)
        return self.asked.import_records(self.scratch, seen, on_conflict, self._keep)

    def remaining(self) -> list[dict[Any, int]]:
        return [dict(counts) for counts in self.asked.remaining(self.scratch).values()]

    def _keep(self, content: bytes) -> str:
        self.undo, self.then = content, self.scene.rows()
        return KEPT


@pytest.fixture
def loss(scene: Scene, backup: tuple[Lab, Manifest]) -> Iterator[Loss]:
    scratch = scene.staging.scratch(scratch_name(SOURCE))
    yield Loss(scene, *backup, scratch)
    scratch.drop()


def without(*lost: int) -> dict[int, tuple[str, str]]:
    return {number: order for number, order in AS_BACKED_UP.items() if number not in lost}


def written(recovered: RecoveredRows) -> tuple[int, int]:
    """How many were inserted, and how many overwritten."""
    return sum(recovered.inserted.values()), sum(recovered.overwritten.values())


def test_form_that_means_nothing(scene: Scene) -> None:
    some = scene.below(3)
    for wanted in (WantedRecords("orders"), WantedRecords("orders", ["1"], some)):
        with pytest.raises(RowRecoveryError, match="The form names"):
            scene.records(wanted).understand()
    with pytest.raises(RowRecoveryError):
        scene.records(WantedRecords("orders", condition="(nonsense")).understand()
    with pytest.raises(RowRecoveryError, match="nobody"):
        scene.records(WantedRecords("nobody", ["1"])).understand()
    asked = scene.records(WantedRecords("orders", condition=some))
    assert "orders" in asked.understand()
    assert all(asked.describe()[:2])


def test_record_that_is_not_in_the_backup(loss: Loss) -> None:
    loss.scene.insert(77, "since then")

    def look() -> None:
        loss.find("77")
        loss.preview()

    with pytest.raises(RowRecoveryError, match="backup"):
        look()


def test_lost_records_come_back_and_the_undo_takes_them_back(loss: Loss) -> None:
    whole = loss.scene.rows()
    loss.scene.delete(1, 2)
    lost = loss.scene.rows()
    loss.find("1", "2", "7")
    assert loss.counts() == {"missing": 2, "equal": 1}
    assert loss.scene.rows() == lost  # until then nothing is touched

    recovered = loss.bring_back()
    assert (written(recovered), recovered.undo) == ((2, 0), KEPT)
    assert loss.then == lost  # the undo was kept before anything was written
    assert loss.scene.rows() == whole
    assert loss.remaining() == [{"equal": 3}]

    loss.scene.undo(loss.undo)
    assert loss.scene.rows() == lost
    assert loss.remaining() == [{"missing": 2, "equal": 1}]
    loss.bring_back()
    assert loss.scene.rows() == whole


def test_condition_brings_back_what_it_means(loss: Loss) -> None:
    loss.scene.delete(1, 2, 3, 4)
    loss.find(condition=loss.scene.below(3))
    assert loss.counts() == {"missing": 2}
    loss.bring_back()
    assert loss.scene.orders() == without(3, 4)


def test_nothing_is_written_where_all_is_there(loss: Loss) -> None:
    loss.find("1", "2")
    recovered = loss.bring_back()
    assert (written(recovered), recovered.undo, loss.undo) == ((0, 0), "", b"")


def test_changed_record_is_a_conflict_that_stops_or_is_left_or_overwritten(loss: Loss) -> None:
    loss.scene.delete(1)
    loss.scene.change(2)
    changed = loss.scene.rows()
    loss.find("1", "2")
    seen = loss.preview()
    assert [(one.kind, set(one.solved_by)) for one in seen.conflicts] == [("key reused", {"skip", "overwrite"})]
    with pytest.raises(RowRecoveryError, match="key reused"):
        loss.bring_back("stop", seen)
    assert (loss.scene.rows(), loss.undo) == (changed, b"")

    assert written(loss.bring_back("overwrite")) == (1, 1)
    assert loss.scene.orders() == AS_BACKED_UP
    loss.scene.undo(loss.undo)
    assert loss.scene.rows() == changed
    assert written(loss.bring_back("skip")) == (1, 0)
    assert loss.scene.orders() == {**AS_BACKED_UP, 2: CHANGED[2]}


def test_unique_value_that_another_record_has_now(loss: Loss) -> None:
    loss.scene.delete(1, 2)
    loss.scene.insert(101, "m1")
    taken = loss.scene.rows()
    loss.find("1", "2")
    assert loss.counts() == {"missing": 1, "taken": 1}
    for choice in UNSOLVED:
        with pytest.raises(RowRecoveryError, match="unique value taken"):
            loss.bring_back(choice)
    assert (loss.scene.rows(), loss.undo) == (taken, b"")
    assert written(loss.bring_back("skip")) == (1, 0)
    assert loss.scene.orders() == {**without(1), 101: ("paid", "m1")}


@pytest.mark.parametrize("on_conflict", ["skip", "overwrite"])
def test_production_that_changed_since_the_preview(loss: Loss, on_conflict: OnConflict) -> None:
    loss.scene.delete(1, 2)
    loss.find("1", "2")
    seen = loss.preview(on_conflict)
    loss.scene.insert(2, "another")
    then = loss.scene.rows()
    with pytest.raises(RowRecoveryError, match="changed since the preview"):
        loss.bring_back(on_conflict, seen)
    assert (loss.scene.rows(), loss.undo) == (then, b"")


def test_undo_that_cannot_be_kept_stops_the_import(loss: Loss) -> None:
    loss.scene.delete(1)
    loss.find("1")

    def fail(_: bytes) -> str:
        raise RepositoryError("The bucket is gone.", "Look for it.")

    with pytest.raises(RepositoryError):
        loss.asked.import_records(loss.scratch, loss.preview(), "stop", fail)
    assert loss.scene.orders() == without(1)


def test_undo_leaves_what_was_changed_since(loss: Loss) -> None:
    loss.scene.delete(1, 2)
    loss.find("1", "2")
    loss.bring_back()
    loss.scene.change(2)
    loss.scene.undo(loss.undo)
    assert loss.scene.orders() == {**without(1), 2: CHANGED[2]}


def test_damaged_backup_brings_nothing_back(loss: Loss) -> None:
    (table,) = (one for one in loss.manifest.tables if one.name == "orders")
    file = loss.lab.stored_file(f"{objects_folder(SOURCE, loss.manifest.backup_id)}{table.parts[-1].object}")
    content = file.read_bytes()
    flip_a_bit(file)
    try:
        with pytest.raises(VerificationError):
            loss.find("1")
    finally:
        file.write_bytes(content)
    assert loss.scene.orders() == AS_BACKED_UP


def test_only_a_scratch_is_loaded_into(loss: Loss) -> None:
    asked = loss.scene.records(WantedRecords("orders", ["1"]))
    then = loss.scene.contents()
    with pytest.raises(GuardError):
        asked.load(loss.scene.staging.scratch(loss.scene.name), loss.lab.reader(loss.manifest), loss.lab.cancellation)
    assert loss.scene.contents() == then
