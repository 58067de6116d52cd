from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from embedded.s3 import S3Gateway
from tests.integration.files.lab import FilesLab, make_lab


@pytest.fixture
def lab(s3: S3Gateway, tmp_path: Path) -> FilesLab:
    return make_lab(s3, tmp_path / "root")


@pytest.fixture
def offsite(lab: FilesLab, s3: S3Gateway) -> FilesLab:
    return make_lab(s3, lab.root)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that ordinary users reach: pytest closes its own whenever it starts somewhere."""
    with TemporaryDirectory() as folder:
        yield Path(folder)
