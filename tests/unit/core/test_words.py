"""How numbers are said."""

import pytest

from backup_playbook.core.words import EngineWords, counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12_345, "12,345 rows")])
def test_one_is_singular(number: int, text: str) -> None:
    assert counted(number, "row") == text


@pytest.mark.parametrize(
    ("words", "text"),
    [(EngineWords(), "1 table, 2,000 rows"), (EngineWords("collection", "document"), "1 collection, 2,000 documents")],
)
def test_every_engine_counts_in_its_own_words(words: EngineWords, text: str) -> None:
    assert words.amount(1, 2_000) == text
