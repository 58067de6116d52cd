from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from backup_playbook.config.load import DEFAULT_FOLDER, FILES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped configuration, to be changed."""
    for file in FILES:
        shutil.copy(DEFAULT_FOLDER / file, tmp_path / file)
    return tmp_path
