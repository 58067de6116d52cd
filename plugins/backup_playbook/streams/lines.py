"""Search for lines in a stream of text, faster than a line at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backup_playbook.streams.blocks import Blocks


def lines_with(blocks: Blocks, wanted: Sequence[bytes]) -> Iterator[bytes]:
    r"""Lines, with their ends, that contain one of `wanted`, in order; many at a time.

    wanted: may begin with the `\n` before its line, and end with that of its line; each costs a look at all bytes.
    """
    rest = b"\n"
    for block in blocks:
        first, last = block.find(b"\n"), block.rfind(b"\n")
        if first < 0:
            rest += block
            continue
        # the line that two blocks share; the others are looked at where they are, for copies cost more than the search
        yield from _pick(rest + block[: first + 1], wanted, 0, len(rest) + first + 1)
        yield from _pick(block, wanted, first, last + 1)
        rest = block[last:]
    if len(rest) > 1:
        yield from _pick(rest + b"\n", wanted, 0, len(rest) + 1)


def _pick(text: bytes, wanted: Sequence[bytes], begin: int, end: int) -> Iterator[bytes]:
    """Matching lines of text[begin:end], which begins and ends with a line break."""
    spans: dict[int, int] = {}
    for word in wanted:
        at = text.find(word, begin, end)
        while at >= 0:
            start = text.rfind(b"\n", begin, at + 1)
            stop = text.find(b"\n", start + 1, end)
            if stop < 0:
                break
            spans[start] = stop
            at = text.find(word, stop, end)
    if spans:
        yield b"".join(text[start + 1 : spans[start] + 1] for start in sorted(spans))
