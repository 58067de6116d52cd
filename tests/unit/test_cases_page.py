"""tests/cases.md names a test for each case: it must exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROW = re.compile(r"^\| (?P<case>[^|]+) \| (?P<kind>[^|]+) \| (?P<shown>.+) \|$", re.M)
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


@pytest.mark.drift
def test_each_case_names_a_test_that_exists_or_a_reason() -> None:
    text = (TESTS / "cases.md").read_text()
    missing = []
    for row in ROW.finditer(text):
        for file, name in TEST.findall(row["shown"]):
            path = TESTS / file
            if not path.is_file() or f"def {name}(" not in path.read_text():
                missing.append(f"{row['case']}: {file}::{name}")
    assert missing == []
