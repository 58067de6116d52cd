"""The conformance suite of object stores once more, on MinIO: what holds on one server only is not what S3 promises."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_playbook.repository.small_objects import SmallObjects
from backup_playbook.repository.store import StoreOptions
from backup_playbook.repository.upload import upload
from tests.conftest import Bucket
from tests.integration.repository.conftest import MakeStore
from tests.integration.repository.test_objects import (  # noqa: F401 - these run here, too
    manifest,
    test_edited_manifest,
    test_failed_run_removes_what_it_stored,
    test_manifest_in_another_backups_place,
    test_object_that_was_written_anew_is_found_by_its_checksum,
)
from tests.integration.repository.test_other_stores import (  # noqa: F401
    test_store_without_checksums_of_its_own_rejects_nothing,
    test_store_without_delete_objects,
)
from tests.integration.repository.test_store import (  # noqa: F401
    test_keys_are_taken_as_they_are,
    test_missing_bucket,
    test_missing_object,
    test_neighbours_with_the_same_beginning_are_not_ours,
    test_put_once_twice,
    test_put_once_whose_answer_was_lost_is_accepted,
    test_read_goes_on_where_it_was_cut,
    test_read_never_mixes_two_versions_of_an_object,
)
from tests.integration.repository.test_upload import (  # noqa: F401
    test_copy_by_the_server_keeps_the_checksum_and_sets_tags,
    test_every_size_arrives_with_the_checksum_that_the_store_reports,
    test_lost_answer_of_a_finished_upload_is_no_failure,
)
from tests.integration.repository.test_versions import (  # noqa: F401
    test_every_version_is_listed_read_copied_and_removed,
    versioned,
)
from tests.support.minio import Minio


@pytest.fixture(scope="module")
def s3(servers_directory: Path) -> Iterator[Minio]:
    server = Minio(servers_directory / "minio")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.mark.parametrize(("algorithm", "key"), [("AES256", ""), ("aws:kms", "tests")])
def test_what_is_asked_to_be_encrypted_is(make_store: MakeStore, bucket: Bucket, algorithm: str, key: str) -> None:
    options = StoreOptions(server_side_encryption=algorithm, kms_key_id=key)
    store = make_store(bucket.name, options=options)
    part = 5 << 20
    upload(store, "small", [b"x"])
    upload(store, "large", [bytes(part + 1)], first_part=part)
    store.put_once("once", b"x")
    SmallObjects(store).put("quick", b"x")
    for item in store.list(""):
        found = store.client.head_object(Bucket=bucket.name, Key=store.path(item.key))
        assert found["ServerSideEncryption"] == algorithm
        assert key in found.get("SSEKMSKeyId", "")
    assert store.get("large") == bytes(part + 1)
