"""A repair by its operators: files, whose contents are shared between backups; and what cannot be repaired."""

from pathlib import Path
from typing import Any

import pytest

from backup_playbook.config import load_config
from backup_playbook.connections import s3 as stores
from backup_playbook.core.errors import RepositoryError
from backup_playbook.core.model import EvidenceKind
from backup_playbook.operators import repair
from backup_playbook.operators.backup import CopyOffsite, VerifyBackup
from backup_playbook.operators.files import ScanFiles, SealFiles, SyncFiles
from backup_playbook.operators.repair import CopySound, FindDamage, VerifyRepaired
from backup_playbook.repository.catalog import Catalog
from embedded.s3 import S3Gateway
from tests.dags.run_of_tasks import RunOfTasks
from tests.support.backups import said
from tests.support.damage import flip_a_bit

SOURCE = "uploads"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    messages: list[Any] = []
    monkeypatch.setattr(repair, "tell", lambda _, message: messages.append(message))
    monkeypatch.setattr(repair, "run_url", lambda *_: "")
    return messages


def catalog(name: str) -> Catalog:
    return stores.catalog(load_config(), name)


def night(run: RunOfTasks) -> str:
    """A backup of the files in both repositories, verified in both; returns its id."""
    scanned = run.do(ScanFiles(task_id="scan", source=SOURCE))
    synced = run.do(SyncFiles(task_id="sync", handoff=scanned))
    sealed = run.do(SealFiles(task_id="seal", handoff=synced))
    copied = run.do(CopyOffsite(task_id="copy_offsite", handoff=verified(run, sealed, offsite=False)))
    verified(run, copied, offsite=True)
    return str(sealed["backup_id"])


def verified(run: RunOfTasks, backup: Any, *, offsite: bool) -> Any:
    return run.do(VerifyBackup(task_id="verify", handoff=backup, offsite=offsite))


def find(run: RunOfTasks, backup: str = "newest_rejected", where: str = "any") -> Any:
    return run.do(FindDamage(task_id="find_damage", source=SOURCE, backup=backup, where=where))


def reject(repository: str, backup_id: str) -> None:
    catalog(repository).add_evidence(SOURCE, backup_id, said(EvidenceKind.REJECTED, what="a bit"), qualifier="full")


def test_files_of_a_damaged_backup_come_back_from_the_other_repository(
    uploads: Path, s3: S3Gateway, told: list[Any]
) -> None:
    for name in ("a", "b", "c"):
        (uploads / name).write_bytes(name.encode() * 1000)
    run = RunOfTasks()
    backup_id = night(run)
    with pytest.raises(RepositoryError, match="No backup of uploads is rejected in primary, offsite"):
        find(run)
    with pytest.raises(RepositoryError, match="cannot be repaired: it is verified in primary"):
        find(run, backup_id)
    assert find(run, backup_id, "primary")["damaged"] == "primary", "what cannot be read is not rejected for that"
    flip_a_bit(s3.buckets / catalog("primary").store.bucket / "playbook/current/uploads/b")
    reject("primary", backup_id)
    found = find(run)
    assert (found["damaged"], found["sound"], found["backup_id"]) == ("primary", "offsite", backup_id)
    run.do(VerifyRepaired(task_id="verify", handoff=run.do(CopySound(task_id="copy_sound", handoff=found))))
    [entry] = catalog("primary").backups(SOURCE)
    assert entry.verified
    assert catalog("primary").store.get("current/uploads/b") == b"b" * 1000
    assert catalog("primary").manifest(SOURCE, backup_id).origin_seal == found["seal"]
    [message] = told
    assert "is repaired" in message.headline
    with pytest.raises(RepositoryError, match="No backup of uploads is rejected"):
        find(run)


def test_what_is_damaged_everywhere_is_said(uploads: Path) -> None:
    (uploads / "a").write_bytes(b"a")
    run = RunOfTasks()
    backup_id = night(run)
    for name in ("primary", "offsite"):
        reject(name, backup_id)
    with pytest.raises(RepositoryError, match="no other repository has a verified copy") as refused:
        find(run)
    assert "use another backup" in refused.value.remedy
