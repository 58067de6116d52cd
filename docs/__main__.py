"""`python -m docs` writes docs/DAGS.md: the pages of all DAGs, which are the docstrings of their files."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs" / "DAGS.md"
INTRODUCTION = """\
# The DAGs

The page of each DAG, as "Dag Docs" shows it in the UI. Generated from the docstrings in `dags/`; after a change of one:

```bash
python -m docs
```
"""


def page() -> str:
    """The whole text of docs/DAGS.md. Raises ValueError for a DAG file without a docstring."""
    return "\n".join([INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    for file in sorted((PROJECT / "dags").rglob("*.py")):
        docstring = ast.get_docstring(ast.parse(file.read_text()))
        if not docstring:
            raise ValueError(f"{file} has no docstring. What to do: write when it runs, what it does, when it fails.")
        # the headings of each page one level down, below this page's own
        text = re.sub(r"^#", "##", docstring, flags=re.M)
        path = file.relative_to(PROJECT)
        title, body = text.split("\n", 1)
        yield f"{title}\n\n[`{file.stem}`](../{path})\n{body}\n"


def main() -> int:
    """Write the page; returns the exit code."""
    PAGE.write_text(page())
    print(f"Wrote {PAGE.relative_to(PROJECT)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
