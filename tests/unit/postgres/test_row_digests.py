import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_playbook.engines.postgres.row_digests import PartDigests, RowMultiset


def of(*parts: bytes) -> list[tuple[int, str]]:
    return [(len(part), hashlib.sha256(part).hexdigest()) for part in parts]


@given(st.lists(st.binary(max_size=12), min_size=1, max_size=6), st.integers(1, 9))
def test_a_stream_is_cut_at_its_parts_however_it_comes(parts: list[bytes], step: int) -> None:
    digests, whole = PartDigests([len(part) for part in parts]), b"".join(parts)
    for start in range(0, len(whole), step):
        digests.update(whole[start : start + step])
    assert digests.finish() == of(*parts)


@pytest.mark.parametrize(
    ("stream", "found"), [(b"abcdefgh", (b"abc", b"defgh")), (b"abcd", (b"abc", b"d")), (b"ab", (b"ab", b""))]
)
def test_what_is_too_long_or_too_short_shows(stream: bytes, found: tuple[bytes, ...]) -> None:
    digests = PartDigests([3, 4])
    digests.update(stream)
    assert digests.finish() == of(*found)


@given(st.lists(st.binary(max_size=5).map(lambda row: row.replace(b"\n", b""))), st.randoms(), st.integers(1, 9))
def test_rows_in_any_order(rows: list[bytes], random: object, step: int) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert multiset(rows, step).digest == multiset(shuffled, 1000).digest
    assert multiset(rows, step).rows == len(rows)


@pytest.mark.parametrize(
    "other", [[b"a", b"b"], [b"a", b"a", b"b"], [b"a", b"b", b"c"], [b"ab", b"b"], [b"", b"a", b"b"]]
)
def test_other_rows_have_another_digest(other: list[bytes]) -> None:
    assert multiset([b"a", b"b", b"b"], 3).digest != multiset(other, 3).digest


def multiset(rows: list[bytes], step: int) -> RowMultiset:
    found, text = RowMultiset(), b"".join(row + b"\n" for row in rows)
    for start in range(0, len(text), step):
        found.update(memoryview(text)[start : start + step])
    return found
