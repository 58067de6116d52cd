"""What people named or wrote is shown as it is: rendered as pages render it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from backup_playbook.core.markdown import cell, code, markdown_table

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# Characters that a parser replaces are no markup: NUL, and halves of pairs.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
MARKUP = st.text("a1 \\`*_~[](){}!<>|&;#:+-.=\n", max_size=30)


def inline(markdown: str) -> list[Token]:
    return next(token.children or [] for token in MARKDOWN.parse(markdown) if token.type == "inline")


@given(TEXTS | MARKUP)
def test_data_is_shown_as_it_is(text: str) -> None:
    tokens = inline(f"it is {cell(text)} here")
    assert {token.type for token in tokens} <= {"text", "text_special"}
    assert "".join(token.content for token in tokens).split() == ["it", "is", *text.split(), "here"]


@given(TEXTS | MARKUP)
def test_data_is_one_cell_of_a_table(text: str) -> None:
    tokens = MARKDOWN.parse("\n".join(markdown_table("names", ("name", "rows"), [(f"it is {text} here", "7")])))
    assert [token.type for token in tokens].count("td_open") == 2


@given(TEXTS | MARKUP)
def test_code_is_shown_as_it_is(text: str) -> None:
    line = " ".join(text.split())
    if line:
        [token] = inline(code(line))
        assert (token.type, token.content) == ("code_inline", line)


@pytest.mark.parametrize("name", ["public.order_items", "inbox/it's [new] (1).pdf", "a & b", "50% #1 - x"])
def test_ordinary_names_stay_readable_where_nothing_renders_them(name: str) -> None:
    assert cell(name) == name
