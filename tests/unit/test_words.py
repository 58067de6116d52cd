"""People read the field's words, in pages, forms, messages and code."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.drift

PROJECT = Path(__file__).resolve().parents[2]
INSTEAD = {
    r"(takes?|took|in|into) the place of": "replaces",
    r"went along": "dependent rows",
    r"by (the button|hand)": "manually",
    r"it is over": "resolved",
    r"(is|are) away": "unreachable",
    r"lets? (the )?users in": "ends maintenance mode",
}


def files() -> list[Path]:
    pages = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *(PROJECT / "docs").rglob("*.md")]
    folders = ("dags", "plugins", "include", "embedded")
    return [*pages, *(file for one in folders for file in (PROJECT / one).rglob("*") if file.suffix in (".py", ".sql"))]


def test_no_page_and_no_message_has_words_that_were_given_up() -> None:
    read = files()
    assert len(read) > 100
    found = [
        f"{file.relative_to(PROJECT)}: {match[0]!r}: write {word!r}"
        for file in read
        for text in [re.sub(r'"?\s+f?"?', " ", file.read_text())]
        for words, word in INSTEAD.items()
        for match in re.finditer(rf"\b{words}\b", text, re.I)
    ]
    assert found == []
