"""Which tables rows are looked for in, how keys are read, and what a preview says."""

import pytest

from backup_playbook.core.row_recovery import Conflict, Preview, PreviewRow, RowRecoveryError, TablePreview
from backup_playbook.core.row_tables import (
    Column,
    ForeignKey,
    TableName,
    TableShape,
    column_conflicts,
    search_order,
    select_rows,
)

PLAIN = Column("integer", "integer", generated=False, identity="", required=False)


def table(*key: str, **columns: Column) -> TableShape:
    return TableShape(("public", "t"), False, key, ("=",) * len(key), dict.fromkeys(key, PLAIN) | columns)


def link(child: str, parent: str) -> ForeignKey:
    return ForeignKey(f"{child}_{parent}", ("s", child), ("p",), ("s", parent), ("id",), "cascade", ("=",))


def names(groups: list[frozenset[TableName]]) -> list[set[str]]:
    return [{name for _, name in group} for group in groups]


def test_parents_are_searched_before_their_children() -> None:
    links = [link("items", "orders"), link("orders", "users"), link("users", "firms"), link("sessions", "users")]
    assert names(search_order(("s", "users"), links)) == [{"users"}, {"orders", "sessions"}, {"items"}]


def test_tables_in_a_circle_are_searched_together() -> None:
    links = [link("b", "a"), link("c", "b"), link("a", "c"), link("leaf", "c"), link("leaf", "leaf")]
    assert names(search_order(("s", "b"), links)) == [{"a", "b", "c"}, {"leaf"}]


@pytest.mark.parametrize("text", ['["a", 1]', '{"y": 1, "x": "a"}'])
def test_keys_of_several_columns(text: str) -> None:
    assert select_rows([text, text], "", table("x", "y")).keys == (("a", "1"),)


def test_key_of_one_column_is_taken_as_it_is() -> None:
    assert select_rows(['["a"]', "NULL"], "", table("x")).keys == (('["a"]',), ("NULL",))


@pytest.mark.parametrize("text", ["a", '["a"]', '["a", null]', '["a", ["b"]]', '{"x": 1}', "[1, 2, 3]", ""])
def test_keys_that_do_not_fit(text: str) -> None:
    with pytest.raises(RowRecoveryError, match=r"is no key of public\.t, which has the columns x, y"):
        select_rows([text], "", table("x", "y"))


def test_columns_that_changed() -> None:
    then = table("id", gone=PLAIN, longer=Column("varchar(3)", "varchar", False, "", False))
    needed = Column("text", "text", generated=False, identity="", required=True)
    now = table("id", longer=Column("varchar(9)", "varchar", False, "", False), new=PLAIN, needed=needed)
    found = {conflict.kind: conflict for conflict in column_conflicts(then, now)}
    assert found.keys() == {"column dropped", "column retyped", "column added"}
    assert "needed" in found["column added"].what
    assert found["column added"].solved_by == ()
    assert list(column_conflicts(then, then)) == []


def preview(*conflicts: Conflict) -> Preview:
    row = PreviewRow(key="id=1 | 2", state="missing", values="name=<b>")
    tables = (TablePreview(table="public.t", counts={"missing": 30, "differs": 2}, rows=(row,)),)
    return Preview(tables=tables, conflicts=conflicts, remarks=(), fingerprint="")


def test_preview_says_what_will_be_written() -> None:
    text = preview().to_markdown("overwrite")
    assert "| public.t | 30 | 2 overwritten | 0 | 0 |" in text
    assert "id=1 \\| 2" in text
    assert "&lt;b>" in text
    assert "and 31 more |" in text
    assert "name=" not in preview().without_rows().to_markdown("overwrite")
    assert preview().in_short("overwrite") == "30 rows of 1 table will be inserted, 2 overwritten."
    assert preview().in_short("skip").endswith("0 overwritten.")


def test_conflicts_stop_unless_the_choice_solves_them() -> None:
    conflict = Conflict(
        table="t", kind="key reused", what="W.", choices="C.", solved_by=("skip", "overwrite"), rows=("mail=a@x",)
    )
    preview(conflict).require_clear("skip")
    with pytest.raises(RowRecoveryError, match=r"key reused: W\. C\."):
        preview(conflict).require_clear("stop")
    assert "W. (mail=a@x). C." in preview(conflict).to_markdown("skip")
    assert "a@x" not in preview(conflict).without_rows().to_markdown("skip")
