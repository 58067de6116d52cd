from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_playbook.core.model import EvidenceKind
from backup_playbook.repository.layout import (
    EvidenceName,
    catalog_folder,
    digest_of,
    manifest_key,
    objects_folder,
    split_key,
)

ID = "20261123T020004Z-7f3a91"
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)


@given(
    times,
    st.sampled_from(EvidenceKind),
    st.from_regex(r"[A-Za-z0-9_-]*", fullmatch=True),
    st.sampled_from(["", digest_of([])]),
)
def test_evidence_names_are_read_back(at: datetime, kind: EvidenceKind, qualifier: str, seen: str) -> None:
    name = EvidenceName(at, kind, qualifier, seen)
    assert EvidenceName.parse(name.file_name) == name


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "restore.sh", "verified-.json", "verified-20261123T0205Z.json", "other-20261123T020513042Z.json"],
)
def test_other_files_are_no_evidence(name: str) -> None:
    assert EvidenceName.parse(name) is None


def test_keys() -> None:
    assert manifest_key("shop", ID) == f"catalog/shop/{ID}/manifest.json"
    assert split_key(manifest_key("shop", ID)) == ("shop", ID, "manifest.json")
    assert split_key(objects_folder("shop", ID) + "data/a.zst") == ("shop", ID, "data/a.zst")
    assert catalog_folder("shop") == "catalog/shop/"


@pytest.mark.parametrize(
    "key", ["", "catalog/shop", "catalog/shop/not-an-id/manifest.json", f"other/shop/{ID}/manifest.json"]
)
def test_what_is_not_ours(key: str) -> None:
    assert split_key(key) is None
