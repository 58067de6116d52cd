import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_playbook.core.errors import VerificationError
from backup_playbook.engines.postgres.packs import PackedTable, PackReader

# what COPY text can hold: any bytes but newlines, and a backslash only before another character
field = st.lists(st.sampled_from([b"a", b"\t", b"\\\\", b"\\N", b"\\n", b"\\\\.", b".", b"\xc3\xa4", b"x" * 300])).map(
    b"".join
)
header = st.binary(min_size=1, max_size=40).map(lambda raw: b"COPY " + raw.replace(b"\n", b"?"))
packs = st.lists(st.tuples(header, st.lists(field, max_size=8)), max_size=6)
cuts = st.lists(st.integers(0, 5000), max_size=12)


def pack(tables: list[tuple[bytes, list[bytes]]]) -> bytes:
    return b"".join(head + b"\n" + b"".join(row + b"\n" for row in rows) + b"\\.\n" for head, rows in tables)


def blocks(content: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut for cut in at if cut < len(content)), len(content)]
    return [content[start:end] for start, end in pairwise(edges)]


def read(parts: list[bytes]) -> list[PackedTable]:
    reader = PackReader()
    for part in parts:
        reader.update(part)
    return reader.finish()


@settings(deadline=None, max_examples=60)
@given(packs, cuts)
def test_tables_are_found_wherever_the_blocks_are_cut(tables: list[tuple[bytes, list[bytes]]], at: list[int]) -> None:
    expected = []
    for head, rows in tables:
        text = b"".join(row + b"\n" for row in rows)
        expected.append(PackedTable(head, len(rows), len(text), hashlib.sha256(text).hexdigest()))
    assert read(blocks(pack(tables), at)) == expected


@settings(deadline=None, max_examples=60)
@given(packs.filter(bool), st.data())
def test_a_pack_that_is_cut_off_is_no_pack(tables: list[tuple[bytes, list[bytes]]], data: st.DataObject) -> None:
    whole = pack(tables)
    ends = {len(pack(tables[:number])) for number in range(len(tables) + 1)}
    length = data.draw(st.integers(1, len(whole) - 1).filter(lambda length: length not in ends), label="length") \
        if len(whole) > 1 else 0  # fmt: skip
    with pytest.raises(VerificationError, match="cut off"):
        read([whole[:length]])


def test_byte_by_byte() -> None:
    content = pack([(b"COPY a (x) FROM stdin;", [b"", b"\\\\.", b""]), (b"COPY b FROM stdin;", []), (b"COPY c", [b""])])
    assert [(found.header, found.rows) for found in read([bytes([byte]) for byte in content])] == [
        (b"COPY a (x) FROM stdin;", 3),
        (b"COPY b FROM stdin;", 0),
        (b"COPY c", 1),
    ]
