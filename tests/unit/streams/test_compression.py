import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from itertools import pairwise

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_playbook.core.errors import VerificationError
from backup_playbook.streams.blocks import Digest, drain, tap
from backup_playbook.streams.compression import compress, decompress

MIB = 1 << 20


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in blocks that end at these places; some may be empty."""
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(borders)]


def packed(data: bytes, level: int = 1) -> bytes:
    return b"".join(compress([data], level))


def unpacked(data: bytes) -> bytes:
    return b"".join(decompress([data], "t.zst"))


splits = st.lists(st.integers(0, 1 << 20), max_size=12)
contents = st.one_of(
    st.binary(max_size=5000),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=50), st.integers(1, 20_000)),
)


@settings(deadline=None, max_examples=60)
@given(content=contents, first=splits, second=splits, level=st.sampled_from([-7, 1, 3, 19]))
def test_roundtrip_however_the_streams_are_cut(content: bytes, first: list[int], second: list[int], level: int) -> None:
    stored = b"".join(compress(cut(content, first), level))
    assert b"".join(decompress(cut(stored, second), "t.zst")) == content


def test_stock_zstd_reads_it_and_finds_its_checksum() -> None:
    content = os.urandom(100_000) * 3
    answer = subprocess.run(["zstd", "-d", "-c"], input=packed(content), capture_output=True, check=True)
    assert answer.stdout == content
    assert zstandard.get_frame_parameters(packed(content)).has_checksum


@pytest.mark.parametrize("kept", [0, 1, 5, 0.5, -1, -4])
def test_truncated(kept: float) -> None:
    whole = packed(os.urandom(50_000))
    count = int(len(whole) * kept) if 0 < kept < 1 else int(kept)
    with pytest.raises(VerificationError, match=r"t\.zst"):
        unpacked(whole[:count])


@pytest.mark.parametrize("extra", [b"\0", b"more", packed(b"a second frame"), bytes(3 * MIB)])
@pytest.mark.parametrize("own_block", [True, False])
def test_something_after_the_end(extra: bytes, own_block: bool) -> None:
    blocks = [packed(b"content"), extra] if own_block else [packed(b"content") + extra]
    with pytest.raises(VerificationError, match="after"):
        list(decompress(blocks, "t.zst"))


@settings(deadline=None, max_examples=60)
@given(content=st.binary(min_size=1, max_size=2000), place=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_one_flipped_bit_never_gives_other_content(content: bytes, place: int, bit: int) -> None:
    stored = bytearray(packed(content))
    stored[place % len(stored)] ^= 1 << bit
    with contextlib.suppress(VerificationError):
        assert unpacked(bytes(stored)) == content


def test_no_zstd_at_all() -> None:
    with pytest.raises(VerificationError, match="not intact zstd data"):
        unpacked(b"<html>502 Bad Gateway</html>" * 10)


def test_a_gigabyte_of_zeros_passes_in_bounded_memory() -> None:
    def zeros() -> Iterator[bytes]:
        block = bytes(MIB)
        for _ in range(1024):
            yield block

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    content, largest = Digest(), [0]
    stored = b"".join(compress(zeros(), 1))
    # in one block, as it arrives from a store: 30 kB that unpack to a gigabyte
    assert len(stored) < MIB

    def measure(block: bytes) -> None:
        largest[0] = max(largest[0], len(block))

    drain(tap(decompress([stored], "t.zst"), content.update, measure))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert content.bytes == 1 << 30
    assert largest[0] <= 32 * MIB
    assert grown < 100 * 1024, f"{grown} kB"


def test_errors_of_the_source_pass_through() -> None:
    def broken() -> Iterator[bytes]:
        yield packed(b"content" * 1000)[:20]
        raise OSError("connection reset")

    with pytest.raises(OSError, match="connection reset"):
        list(decompress(broken(), "t.zst"))
    with pytest.raises(OSError, match="connection reset"):
        list(compress(broken(), 1))
