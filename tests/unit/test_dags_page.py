"""docs/DAGS.md is what `python -m docs` writes."""

import pytest

from docs.__main__ import PAGE, page


@pytest.mark.drift
def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "Run: python -m docs"
