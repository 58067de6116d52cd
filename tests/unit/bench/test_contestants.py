"""Contestants that cannot run say so; what is measured is what the issue and the configuration name."""

import os
from pathlib import Path

import pytest
import yaml

from backup_playbook.core.errors import PlaybookError
from bench import contestants, stand

ROOT = Path(__file__).parents[3]


def test_a_program_that_fails_is_no_result() -> None:
    with pytest.raises(PlaybookError, match="contestant pipe ended with 3: first\nlast words"):
        contestants.execute("pipe", ["bash", "-c", "printf 'first\nlast words' >&2; exit 3"], dict(os.environ))


def test_missing_tools_are_named_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand, "search_path", lambda: "/nonexistent")
    with pytest.raises(PlaybookError) as raised:
        stand.require_tools()
    assert "bash, gzip, aws" in raised.value.what
    assert "pip install awscli" in raised.value.remedy


def test_streams_and_level_are_the_ones_of_the_configuration() -> None:
    sources = yaml.safe_load((ROOT / "include/config/sources.yaml").read_text())["sources"]
    shop = sources["shop"]
    assert (shop["streams"], shop["compression_level"]) == (contestants.STREAMS, contestants.COMPRESSION_LEVEL)
