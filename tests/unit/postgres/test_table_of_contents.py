"""What is no archive, or a part of one, is told from a backup that is right."""

import pytest

from backup_playbook.core.errors import VerificationError
from backup_playbook.engines.postgres.table_of_contents import read_entries

HEAD = b"PGDMP\x01\x10\x00\x04\x08\x01\x00" + 7 * b"\x00\x00\x00\x00\x00" + 3 * b"\x01\x01\x00\x00\x00"


def test_an_archive_without_entries() -> None:
    assert read_entries(HEAD + b"\x00\x00\x00\x00\x00") == []


@pytest.mark.parametrize("archive", [b"", b"PGDMP", HEAD, HEAD + b"\x00\x02\x00\x00\x00\x00\x07"])
def test_a_part_of_an_archive(archive: bytes) -> None:
    with pytest.raises(VerificationError, match="ends in the middle"):
        read_entries(archive)


@pytest.mark.parametrize("archive", [HEAD.replace(b"\x01\x10", b"\x01\x11", 1), b"X" + HEAD])
def test_an_archive_of_another_format(archive: bytes) -> None:
    with pytest.raises(VerificationError, match="none that this release can read") as caught:
        read_entries(archive)
    assert "upgrade this project" in caught.value.remedy
