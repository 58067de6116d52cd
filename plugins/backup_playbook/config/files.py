"""Reader of one YAML file, which says what is wrong with it as YAML."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from yaml import CSafeLoader, MappingNode, YAMLError
from yaml.error import MarkedYAMLError
from yaml.reader import ReaderError


def read_yaml(path: Path) -> tuple[object, list[str]]:
    """Read a document and its problems, as lines like "line 7: What to do. What is wrong.".

    The document is None when it cannot be read at all. Syntax errors do not repeat the text around them, because that
    may hold a secret.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        document = loader.get_single_data()
    except OSError as error:
        return None, [f"Make it readable. {error.strerror}."]
    except (UnicodeDecodeError, ReaderError):
        return None, ["Save the file as UTF-8 text, without control characters. It is not."]
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        start = f" (in what starts in line {error.context_mark.line + 1})" if error.context_mark else ""
        return None, [f"{line}Correct the YAML: {error.problem or error.context}{start}."]
    except YAMLError as error:
        return None, [f"Correct the YAML: {error}."]
    if document is None:
        return None, ["Fill it in. The file is empty."]
    return document, loader.problems


class _Loader(CSafeLoader):
    """A loader that reports equal keys. PyYAML silently takes the last one."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[str] = []

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key.value, str):
                continue  # a list as a key: PyYAML itself complains
            line = key.start_mark.line + 1
            first = lines.setdefault(key.value, line)
            if first != line:
                self.problems.append(
                    f"line {line}: Remove one of the two. The key '{key.value}' is already in line {first}."
                )
        return super().construct_mapping(node, deep)
