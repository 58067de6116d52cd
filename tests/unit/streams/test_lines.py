"""Lines are found whole, wherever blocks are cut."""

from hypothesis import given
from hypothesis import strategies as st

from backup_playbook.streams.lines import lines_with

CELLS = st.lists(st.sampled_from([b"1", b"17", b"2", b"", b"x17"]), min_size=2, max_size=2)


@given(st.lists(CELLS, max_size=30), st.integers(1, 20), st.booleans())
def test_like_one_line_at_a_time(rows: list[list[bytes]], size: int, closed: bool) -> None:
    text = b"".join(b"\t".join(row) + b"\n" for row in rows)
    whole = text
    if rows and not closed:
        text = text[:-1]
    blocks = [text[start : start + size] for start in range(0, len(text), size)]
    lines = whole.splitlines(keepends=True)
    for wanted, place in ((b"\n17\t", 0), (b"\t17\n", 1)):
        expected = [line for line, row in zip(lines, rows, strict=True) if row[place] == b"17"]
        assert b"".join(lines_with(blocks, [wanted])) == b"".join(expected)
    either = [line for line, row in zip(lines, rows, strict=True) if b"17" in row]
    assert b"".join(lines_with(blocks, [b"\n17\t", b"\t17\n"])) == b"".join(either)
