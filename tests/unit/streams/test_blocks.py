from collections.abc import Iterator

import pytest

from backup_playbook.streams.blocks import withhold_last


def test_the_last_block_comes_when_the_stream_has_ended_well() -> None:
    assert b"".join(withhold_last([b"a", b"b", b"c"])) == b"abc"
    assert b"".join(withhold_last([])) == b""


@pytest.mark.parametrize("count", [1, 3])
def test_of_a_damaged_stream_the_last_block_never_comes(count: int) -> None:
    def blocks() -> Iterator[bytes]:
        yield from [b"x"] * count
        raise RuntimeError("damaged")

    taken: list[bytes] = []
    with pytest.raises(RuntimeError):
        taken.extend(withhold_last(blocks()))
    assert len(taken) == count - 1
