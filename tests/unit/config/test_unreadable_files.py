"""Files of the configuration that are missing, or that hold no YAML mapping."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_playbook.config import load_config
from backup_playbook.core.errors import ConfigError
from tests.unit.config.conftest import problems


def test_a_misspelt_file_is_recognised(folder: Path) -> None:
    (folder / "policies.yaml").rename(folder / "policies.yml")
    assert problems(folder) == ["policies.yaml: Rename policies.yml to policies.yaml."]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[a, b]", "alerts.yaml: Write indented `key: value` lines, not a list."),
        (b"\xff\xfe\x00", "alerts.yaml: Save the file as UTF-8 text, without control characters. It is not."),
        (b"routes: \x07", "alerts.yaml: Save the file as UTF-8 text, without control characters. It is not."),
        (
            b"a: 1\n---\nb: 2\n",
            "alerts.yaml: line 2: Correct the YAML: but found another document (in what starts in line 1).",
        ),
        (b"{[a]: b}", "alerts.yaml: line 1: Correct the YAML: found unhashable key (in what starts in line 1)."),
        (b"a: !!python/object:os.system x", None),
    ],
)
def test_a_file_that_is_no_mapping(folder: Path, content: bytes, problem: str | None) -> None:
    (folder / "alerts.yaml").write_bytes(content)
    found = problems(folder)
    assert len(found) == 1
    assert problem is None or found == [problem]


def test_a_folder_in_the_place_of_a_file(folder: Path) -> None:
    (folder / "alerts.yaml").unlink()
    (folder / "alerts.yaml").mkdir()
    assert problems(folder) == ["alerts.yaml: Make it readable. Is a directory."]


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no configuration folder") as error:
        load_config(tmp_path / "nowhere")
    assert "BACKUP_PLAYBOOK_CONFIG" in error.value.remedy
