"""`before` is about what a backup shows, and not about when it was begun."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_playbook.config import load_config
from backup_playbook.connections import backup_choice
from backup_playbook.connections.backups import Backups
from backup_playbook.core.errors import PlaybookError, VerificationError
from backup_playbook.core.model import Manifest
from backup_playbook.core.recovery_points import NoSuchBackupError
from backup_playbook.repository.catalog import CatalogEntry
from tests.support.backups import listed, manifest

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
BEGUN = [NOW - hours * HOUR for hours in (1, 8, 32)]


class OneRepository:
    """In the place of `Repositories`: each backup took two hours."""

    def __init__(self, _: Any, engine: str, details: dict[str, Any]) -> None:
        self.engine, self.details, self.failed = engine, details, dict[str, PlaybookError]()
        self.damaged: set[str] = set()

    def all(self, names: Sequence[str], act: Callable[[Any], Any]) -> dict[str, Any]:
        try:
            return {name: act(self) for name in names}
        except PlaybookError as error:
            self.failed = dict.fromkeys(names, error)
            return {}

    def error(self, names: Sequence[str]) -> PlaybookError:
        return self.failed[names[0]]

    def backups(self, _: str) -> list[CatalogEntry]:
        return [listed(at) for at in BEGUN]

    def manifest(self, _: str, backup_id: str) -> Manifest:
        if backup_id in self.damaged:
            raise VerificationError(f"The manifest of {backup_id} was changed after it was sealed.", "Use another.")
        at = next(at for at in BEGUN if listed(at).backup_id == backup_id)
        told = {"engine": self.engine, "details": self.details, "finished_at": at + 2 * HOUR}
        return manifest(at, {}).model_copy(update=told)


@pytest.mark.parametrize(
    ("engine", "details", "chosen"),
    [
        ("files", {"current": "current/shop/"}, 2),
        ("mongodb", {"consistency": "collections"}, 2),
        ("mongodb", {"consistency": "snapshot", "unsnapshotted": ["local"]}, 2),
        ("mongodb", {"consistency": "snapshot"}, 1),
        ("postgres", {}, 1),
    ],
)
def test_what_was_read_after_the_moment_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, engine: str, details: dict[str, Any], chosen: int
) -> None:
    def choose(before: datetime | None, wanted: str = "latest") -> str:
        found = backup_choice.find_backup(
            Backups(load_config(), "shop"), [["primary"]], wanted, before, now=NOW, allow_unverified=False
        )
        return found.entry.backup_id

    monkeypatch.setattr(backup_choice, "Repositories", lambda config: OneRepository(config, engine, details))
    assert choose(BEGUN[1] + HOUR) == listed(BEGUN[chosen]).backup_id
    assert choose(BEGUN[1] + 3 * HOUR) == listed(BEGUN[1]).backup_id
    assert choose(None) == listed(BEGUN[0]).backup_id
    assert choose(BEGUN[2], wanted=listed(BEGUN[0]).backup_id) == listed(BEGUN[0]).backup_id, "an id is an id"
    with pytest.raises(NoSuchBackupError, match="no verified backup that was taken before"):
        choose(BEGUN[2])


def test_a_damaged_manifest_hides_no_older_backup(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(wanted: str) -> backup_choice.Choice:
        return backup_choice.find_backup(
            Backups(load_config(), "shop"), [["primary"]], wanted, None, now=NOW, allow_unverified=False
        )

    ids = [listed(at).backup_id for at in BEGUN]
    repository = OneRepository(None, "postgres", {})
    repository.damaged = set(ids[:2])
    monkeypatch.setattr(backup_choice, "Repositories", lambda _: repository)
    found = choose("latest")
    assert found.entry.backup_id == ids[2]
    assert all(f"passed over: The manifest of {one} was changed" in found.remark for one in ids[:2])
    with pytest.raises(VerificationError):
        choose(ids[0])
    repository.damaged = set(ids)
    with pytest.raises(VerificationError, match=ids[0]):
        choose("latest")
