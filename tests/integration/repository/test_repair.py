"""What is damaged in one repository comes back from another, and nothing else is touched."""

from datetime import UTC, datetime

import pytest

from backup_playbook.core.errors import RepositoryError, VerificationError
from backup_playbook.core.model import Manifest
from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import Depth, Verification, take_backup
from backup_playbook.engines.repair import find_damage, repair
from backup_playbook.repository.catalog import Catalog, CatalogEntry
from backup_playbook.repository.layout import MANIFEST, RESTORE_SCRIPT, catalog_folder, manifest_key, objects_folder
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.offsite import copy_backup
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from tests.integration.repository.conftest import MakeStore
from tests.support.bytes_engine import BytesEngine
from tests.support.damage import refuse_to_read

ENGINE = BytesEngine({name: name.encode() * 1000 for name in ("one", "two", "three")})
SCRIPT = "#!/bin/sh\n"


@pytest.fixture
def manifest(store: ObjectStore) -> Manifest:
    writer = BackupWriter(store, "shop", new_backup_id(datetime.now(UTC)), Codec())
    return take_backup(ENGINE, ENGINE, writer, Cancellation())


@pytest.fixture
def copy(store: ObjectStore, make_store: MakeStore, second_bucket: str, manifest: Manifest) -> Catalog:
    target = Catalog(make_store(second_bucket))
    copy_backup(Catalog(store), target, manifest, SCRIPT, same_endpoint=False, streams=2, cancellation=Cancellation())
    return target


def entry_of(catalog: Catalog, manifest: Manifest) -> CatalogEntry | None:
    return next((one for one in catalog.backups("shop") if one.backup_id == manifest.backup_id), None)


def verify(catalog: Catalog, manifest: Manifest) -> None:
    Verification(catalog, ENGINE, Codec(), Depth.FULL).run("shop", manifest.backup_id, Cancellation(), manifest.seal)


def damage_of(copy: Catalog, manifest: Manifest) -> list[str]:
    return find_damage(copy, entry_of(copy, manifest), manifest, 2, Cancellation()).names()


def test_damaged_and_missing_objects_manifest_and_script_come_back(
    store: ObjectStore, copy: Catalog, manifest: Manifest
) -> None:
    verify(copy, manifest)
    folder, catalog = objects_folder("shop", manifest.backup_id), catalog_folder("shop", manifest.backup_id)
    assert damage_of(copy, manifest) == []
    copy.store.put(folder + manifest.objects[0].name, b"other bytes")
    copy.store.delete([folder + manifest.objects[1].name, catalog + RESTORE_SCRIPT])
    copy.store.put(manifest_key("shop", manifest.backup_id), b"{}")
    with pytest.raises(VerificationError):
        verify(copy, manifest)
    entry = entry_of(copy, manifest)
    assert entry is not None
    assert entry.rejected
    before = {item.key: item.modified for item in copy.store.list("")}
    damage = find_damage(copy, entry, manifest, 2, Cancellation())
    names = [manifest.objects[0].name, manifest.objects[1].name, MANIFEST, RESTORE_SCRIPT]
    assert damage.names() == names
    repair(Catalog(store), copy, manifest, damage, SCRIPT, same_endpoint=False, streams=2, cancellation=Cancellation())
    assert damage_of(copy, manifest) == []
    right = folder + manifest.objects[2].name
    assert {item.key: item.modified for item in copy.store.list("")}[right] == before[right]
    verify(copy, manifest)
    entry = entry_of(copy, manifest)
    assert entry is not None
    assert entry.verified


def test_what_cannot_be_read_comes_back_too_while_its_store_answers(
    copy: Catalog, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = manifest.objects[0].name
    refuse_to_read(monkeypatch, copy.store, lambda key: key.endswith(f"/{name}"))
    assert damage_of(copy, manifest) == [name]
    refuse_to_read(monkeypatch, copy.store, lambda key: key.endswith(MANIFEST))
    assert damage_of(copy, manifest) == [MANIFEST]
    refuse_to_read(monkeypatch, copy.store, lambda _: True)
    with pytest.raises(RepositoryError, match="InternalError"):
        damage_of(copy, manifest)


def test_backup_that_is_gone_altogether_comes_back(store: ObjectStore, copy: Catalog, manifest: Manifest) -> None:
    copy.store.delete([item.key for item in copy.store.list("")])
    damage = find_damage(copy, None, manifest, 2, Cancellation())
    assert len(damage.objects) == len(manifest.objects)
    repair(Catalog(store), copy, manifest, damage, SCRIPT, same_endpoint=False, streams=2, cancellation=Cancellation())
    verify(copy, manifest)


def test_nothing_is_replaced_by_what_is_damaged_itself(store: ObjectStore, copy: Catalog, manifest: Manifest) -> None:
    key = objects_folder("shop", manifest.backup_id) + manifest.objects[0].name
    for damaged in (store, copy.store):
        damaged.put(key, b"other bytes")
    damage = find_damage(copy, entry_of(copy, manifest), manifest, 2, Cancellation())
    with pytest.raises(VerificationError, match="changed since it was verified"):
        repair(
            Catalog(store), copy, manifest, damage, SCRIPT, same_endpoint=False, streams=2, cancellation=Cancellation()
        )


def test_another_backup_with_the_same_id_is_not_overwritten(copy: Catalog, manifest: Manifest) -> None:
    verify(copy, manifest)
    other = manifest.model_copy(update={"details": {"other": True}, "seal": ""}).sealed()
    with pytest.raises(VerificationError, match="another backup under the id"):
        find_damage(copy, entry_of(copy, manifest), other, 2, Cancellation())
