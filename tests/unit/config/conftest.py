from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from backup_playbook.config.load import DEFAULT_FOLDER, FILES, load_config
from backup_playbook.core.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped configuration, to be changed."""
    for file in FILES:
        shutil.copy(DEFAULT_FOLDER / file, tmp_path / file)
    return tmp_path


def problems(folder: Path) -> list[str]:
    """What is wrong with the configuration, without the headline."""
    with pytest.raises(ConfigError) as error:
        load_config(folder)
    head, *lines = error.value.what.splitlines()
    assert head.startswith(f"The configuration in {folder} has ")
    return [line.removeprefix("  ") for line in lines]


def edit(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
