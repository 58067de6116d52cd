"""Docstrings of plugins/: every public thing has one, and it begins with an imperative or a noun phrase.

ruff's `D` rules hold the layout of a docstring, and cannot tell a noun phrase from half a sentence. This holds the
first word.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.drift

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

BEGINS_BADLY = re.compile(
    r"\W*("
    # half sentences, which leave the reader to find their subject
    "how|it|that|what|when|where|which|who|why|"
    # prepositions
    "about|above|after|against|among|as|at|before|behind|below|beneath|beside|between|by|during|for|from|in|inside|into|"
    "near|of|on|onto|outside|over|per|since|through|to|under|until|upon|via|with|within|without"
    r")\b",
    re.IGNORECASE,
)


def faults(text: str) -> Iterator[str]:
    """Name what has no docstring, and what has one that begins badly."""
    tree = ast.parse(text)
    for name, node, public in [("the module", tree, True), *_definitions(tree, "", public=True)]:
        if (docstring := ast.get_docstring(node)) is None:
            if public and node is not tree:  # a module without a docstring is an empty one, or ruff says it
                yield f"{name} has no docstring"
        elif first := BEGINS_BADLY.match(docstring):
            yield f"{name}: {docstring.splitlines()[0]!r} begins with {first[1]!r}"


def _definitions(
    node: ast.AST, prefix: str, *, public: bool
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Documented):
            shown = public and not child.name.startswith("_")
            yield prefix + child.name, child, shown
            inner = shown and isinstance(child, ast.ClassDef)  # what a function defines is its own business
            yield from _definitions(child, f"{prefix}{child.name}.", public=inner)
        else:
            yield from _definitions(child, prefix, public=public)


def test_docstrings_are_there_and_begin_well() -> None:
    files = sorted(PLUGINS.rglob("*.py"))
    assert files
    assert [f"{file.relative_to(PLUGINS)}: {fault}" for file in files for fault in faults(file.read_text())] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def open(): ...", ["open has no docstring"]),
        ("def _open(): ...", []),
        ("class Store:\n    'A store.'\n    def get(self): ...", ["Store.get has no docstring"]),
        ("class _Store:\n    def get(self): ...", []),
        ("def _f():\n    'Of a file.'", ["_f: 'Of a file.' begins with 'Of'"]),
        ("def f():\n    'Size of a file.'\n    def inner(): ...", []),
        ("if True:\n    def f(): ...", ["f has no docstring"]),
        ("'What it does.'", ["the module: 'What it does.' begins with 'What'"]),
        ("async def f():\n    '`by` is a word in code.'", ["f: '`by` is a word in code.' begins with 'by'"]),
    ],
)
def test_what_counts_as_a_fault(text: str, expected: list[str]) -> None:
    assert list(faults(text)) == expected
