"""Values that nobody is to see, wherever they stand."""

from typing import Any

import pytest

from backup_playbook.core.masking import in_words, is_confidential, masked


@pytest.mark.parametrize(
    ("name", "confidential"),
    [("password_hash", True), ("apiKey", True), ("API_KEY", True), ("reset_token", True), ("clientSecret", True),
     ("pwd", True), ("card_number", True), ("email", False), ("passenger", False), ("key", False),
     ("user_pass", True), ("userPass", True), ("pin", True), ("cardPinCode", True), ("SSN", True),
     ("Authorization", True), ("pinned", False), ("SPIN", False), ("session_count", False), ("pass_rate", False)],
)  # fmt: skip
def test_names(name: str, confidential: bool) -> None:
    assert is_confidential(name) is confidential


@pytest.mark.parametrize(
    "value",
    [
        {"login": [{"password": "XX"}]},
        '{"login": [{"password": "XX"}], "n": 1}',
        '{"settings": "{\\"apiKey\\": \\"XX\\"}"}',
        '{"password": "XX", "password": null}',
        '{"name": "cut", "token": "XX',
        '"password"=>"XX", "n"=>"1"',
        "host=db password=XX",
        [{"name": "password", "value": "XX"}],
        '{"key": "pin", "value": "XX"',
        "Authorization: Basic XX",
        "<user><password>XX</password></user>",
        "postgres://app:XX@db/shop",
    ],
)
def test_values_within_values(value: Any) -> None:
    assert "XX" not in str(masked(value, "data"))
    assert "***" in str(masked(value, "data"))


@pytest.mark.parametrize("value", [None, 7, "forgot my password", '{"a": [1, null]}', "{1,2}", "[1,5)", "https://x/y"])
def test_values_that_are_shown_as_they_are(value: Any) -> None:
    assert masked(value, "data") == value


def test_row_in_words() -> None:
    assert in_words({"token": "t", "id": 1, "old_password": None}) == "token=***, id=1, old_password=NULL"
