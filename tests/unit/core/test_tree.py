"""Entries of a tree as lines, their order, and where their contents are."""

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_playbook.core.tree import YOUNG, Entry, Outcome, from_document, key_of, merge, to_line, unsafe

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: not set(name) & {0, ord("/")})
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)
ENTRIES = st.builds(
    Entry, path=PATHS, type=st.sampled_from(["file", "symlink"]), size=st.integers(0, 2**60),
    mtime_ns=st.integers(-(2**62), 2**62), mode=st.integers(0, 0o7777), inode=st.integers(0, 2**64 - 1),
    target=st.binary(max_size=30), user=st.text(max_size=8), sparse=st.booleans(), reason=st.text(max_size=20),
)  # fmt: skip


@given(ENTRIES)
def test_a_line_says_it_all(entry: Entry) -> None:
    line = to_line(entry, action="add")
    assert line.count(b"\n") == 1
    document = json.loads(line)
    assert document.pop("action") == "add"
    assert from_document(document) == entry


@pytest.mark.parametrize(
    "document", [{}, {"path": "a"}, {"path": "a", "type": "file", "unknown": 1}, {"path_base64": "*"}]
)
def test_what_is_no_entry(document: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        from_document(document)


def paths(pairs: Iterable[tuple[bytes | None, bytes | None]]) -> list[tuple[bytes | None, bytes | None]]:
    return list(pairs)


@given(st.sets(PATHS), st.sets(PATHS))
def test_merge_pairs_what_is_in_both(left: set[bytes], right: set[bytes]) -> None:
    found = paths(merge(sorted(left), sorted(right), left_path=bytes, right_path=bytes))
    assert [one or other for one, other in found] == sorted(left | right)
    assert {one for one, other in found if one == other} == left & right
    assert {one for one, _ in found} - {None} == left


@given(st.sets(PATHS.filter(lambda path: Entry(path, "file").natural_key)))
def test_keys_are_in_the_order_of_paths(found: set[bytes]) -> None:
    keys = [key_of("uploads", Entry(path, "file")) for path in sorted(found)]
    assert keys == sorted(keys) == sorted(keys, key=str.encode)


@pytest.mark.parametrize(
    "path", [b"caf\xe9", b"a\nb", b"a/../b", b"./a", b"a//b", b"x" * 901, "a\u202eb".encode(), b"a/\x7f"]
)
def test_paths_that_are_no_keys(path: bytes) -> None:
    assert not Entry(path, "file").natural_key
    key = key_of("uploads", Entry(path, "file", hashed_key=True))
    assert len(key) == len("current-hashed/uploads/") + 64


@pytest.mark.parametrize("path", ["a", "a b", "ünïcode \U0001f600", "...", ".hidden", "a'\"`$(x)", "A"])
def test_paths_that_are_keys(path: str) -> None:
    assert Entry(path.encode(), "file").natural_key
    assert key_of("uploads", Entry(path.encode(), "file")) == f"current/uploads/{path}"


@pytest.mark.parametrize("path", [b"", b"/", b"/a", b"..", b"a/..", b"../a", b"a/./b", b"a//b", b"a\0"])
def test_unsafe(path: bytes) -> None:
    assert unsafe(path)


@pytest.mark.parametrize("path", [b"a", b"a/", b"a/b", b"..a", b"caf\xe9/\n"])
def test_safe(path: bytes) -> None:
    assert not unsafe(path)


def test_what_must_be_read() -> None:
    stored = Entry(b"a", "file", size=1, mtime_ns=1, inode=1, sha256="x", version="v")
    seen = stored._replace(sha256="", version="")
    assert seen.same_content(stored)
    for change in ({"size": 2}, {"mtime_ns": 2}, {"inode": 2}, {"etag": "v2"}, {"ctime_ns": 2}, {"device": 2}):
        assert not seen._replace(**change).same_content(stored)
    for outcome in (Outcome.CHANGING, Outcome.UNREADABLE):
        assert not seen.same_content(stored._replace(outcome=outcome.value))
    assert not seen._replace(ctime_ns=YOUNG).same_content(stored._replace(ctime_ns=YOUNG)), "written to by mmap"
    assert stored._replace(inode=9).same_content(stored), "a copy goes by the hash"
