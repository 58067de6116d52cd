"""`python -m docs` writes what is generated: docs/DAGS.md, and the table of symptoms in the README.

docs/DAGS.md has the pages of all DAGs, which are the docstrings of their files, below an index by symptom.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from docs.symptoms import SYMPTOMS

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs" / "DAGS.md"
README = PROJECT / "README.md"
BEGIN, END = "<!-- written by `python -m docs` -->\n", "<!-- end -->\n"
INTRODUCTION = """\
# The DAGs

The page of each DAG, as "Dag Docs" shows it in the UI. Generated from the docstrings in `dags/`, and the index from
`docs/symptoms.py`; after a change of one:

```bash
python -m docs
```
"""


class DagPage(NamedTuple):
    """The page of a DAG. file: from the root of the project. text: below its title, headings one level down."""

    file: Path
    title: str
    text: str

    @property
    def anchor(self) -> str:
        """The anchor of its title, as GitHub makes it."""
        return re.sub(r"[^a-z0-9 _-]", "", self.title.lower()).replace(" ", "-")


def page() -> str:
    """Return the whole text of docs/DAGS.md.

    Raises ValueError for a DAG without a docstring or a symptom, and for a symptom without a DAG.
    """
    pages = _pages()
    return "\n".join([INTRODUCTION, *_index(pages), *_sections(pages)])


def readme() -> str:
    """Return the whole text of the README, with today's table of symptoms. Raises ValueError as `page` does."""
    before, rest = README.read_text().split(BEGIN)
    pages = _pages()
    rows = [
        f"| {one.what} | [`{one.dag_id}`](docs/DAGS.md#{pages[one.dag_id].anchor}) | {one.form} | {one.takes} |\n"
        for one in SYMPTOMS
        if one.takes
    ]
    head = "| what you see | DAG | its form | time, without your approval |\n|---|---|---|---|\n"
    return "".join([before, BEGIN, head, *rows, END, rest.split(END)[1]])


def _pages() -> Mapping[str, DagPage]:
    """Read the pages, by the id of the DAG."""
    pages = {}
    for file in sorted((PROJECT / "dags").rglob("*.py")):
        docstring = ast.get_docstring(ast.parse(file.read_text()))
        if not docstring:
            raise ValueError(f"{file} has no docstring. What to do: write when it runs, what it does, when it fails.")
        title, text = re.sub(r"^#", "##", docstring, flags=re.M).split("\n", 1)
        pages[file.stem] = DagPage(file.relative_to(PROJECT), title.removeprefix("## "), text)
    if wrong := pages.keys() ^ {one.dag_id for one in SYMPTOMS}:
        raise ValueError(
            f"{', '.join(sorted(wrong))}: What to do: correct docs/symptoms.py, which lacks a DAG or has one too many."
        )
    return pages


def _index(pages: Mapping[str, DagPage]) -> Iterator[str]:
    yield "## Which one?\n"
    yield "| what you see | DAG |\n|---|---|"
    for one in SYMPTOMS:
        yield f"| {one.what} | [`{one.dag_id}`](#{pages[one.dag_id].anchor}) |"
    yield ""


def _sections(pages: Mapping[str, DagPage]) -> Iterator[str]:
    for dag_id, one in pages.items():
        yield f"## {one.title}\n\n[`{dag_id}`](../{one.file})\n{one.text}\n"


def main() -> int:
    """Write the pages; returns the exit code."""
    for path, text in ((PAGE, page()), (README, readme())):
        path.write_text(text)
        print(f"Wrote {path.relative_to(PROJECT)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
