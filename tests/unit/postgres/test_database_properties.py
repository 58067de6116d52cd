import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_playbook.engines.postgres.database_properties import _split, setting_statements


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        ("public", ["public"]),
        ('"$user", public', ["$user", "public"]),
        ('"with ""quotes""",  "a, b" ,c', ['with "quotes"', "a, b", "c"]),
        ('""', [""]),
        ('"", pg_catalog', ["", "pg_catalog"]),
        ('""""', ['"']),
        ('" blanks "', [" blanks "]),
    ],
)
def test_lists_are_split_as_the_server_does(value: str, elements: list[str]) -> None:
    assert _split(value) == elements


name = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@settings(deadline=None)
@given(st.lists(name, min_size=1, max_size=5))
def test_a_list_that_the_server_quoted_comes_apart_again(elements: list[str]) -> None:
    """The server stores every element as quote_identifier() writes it: in double quotes unless it is a plain word."""
    stored = ", ".join('"' + element.replace('"', '""') + '"' for element in elements)
    assert _split(stored) == elements


def test_settings_become_statements_for_a_database_of_another_name() -> None:
    properties = {
        "settings": [
            {"role": None, "settings": ['search_path="$user", public', "work_mem=64MB", "my.setting=it's = \\ this"]},
            {"role": 'a "role"', "settings": ['search_path=""']},
        ]
    }
    assert list(setting_statements(properties)) == [
        "ALTER DATABASE :\"DBNAME\" SET \"search_path\" TO '$user', 'public';",
        'ALTER DATABASE :"DBNAME" SET "work_mem" TO \'64MB\';',
        "ALTER DATABASE :\"DBNAME\" SET \"my.setting\" TO  E'it''s = \\\\ this';",
        'ALTER ROLE "a ""role""" IN DATABASE :"DBNAME" SET "search_path" TO \'\';',
    ]
