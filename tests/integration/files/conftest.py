from pathlib import Path

import pytest

from embedded.s3 import S3Gateway
from tests.integration.files.lab import FilesLab, make_lab


@pytest.fixture
def lab(s3: S3Gateway, tmp_path: Path) -> FilesLab:
    return make_lab(s3, tmp_path / "root")


@pytest.fixture
def open_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that ordinary users reach."""
    return tmp_path_factory.mktemp("open")
