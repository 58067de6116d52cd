from hypothesis import given
from hypothesis import strategies as st

from backup_playbook.repository.upload import (
    EQUAL_PART_BYTES,
    FIRST_PART_BYTES,
    LARGEST_PART_BYTES,
    PARTS_ALLOWED,
    first_part_bytes,
    part_bytes,
)

MIB = 1 << 20
TIB = 1 << 40
estimates = st.integers(0, 100 * TIB)


@given(estimates)
def test_parts_have_the_sizes_that_s3_demands(estimate: int) -> None:
    first = first_part_bytes(estimate)
    assert first >= FIRST_PART_BYTES
    for number in (1, 2, 999, 1000, 1001, 5000, PARTS_ALLOWED):
        assert 5 * MIB <= part_bytes(number, first) <= LARGEST_PART_BYTES


@given(estimates)
def test_parts_never_shrink(estimate: int) -> None:
    first = first_part_bytes(estimate)
    sizes = [part_bytes(number, first) for number in range(1, PARTS_ALLOWED, 250)]
    assert sizes == sorted(sizes)


@given(estimates)
def test_allowed_parts_hold_the_largest_object_whatever_was_estimated(estimate: int) -> None:
    first = first_part_bytes(estimate)
    # sizes change only every thousand parts
    assert sum(1000 * part_bytes(start, first) for start in range(1, PARTS_ALLOWED, 1000)) >= 5 * TIB


def sizes(total: int, first: int) -> list[int]:
    """Of all parts but the last one, which may be smaller."""
    found: list[int] = []
    while (left := total - sum(found)) > (size := part_bytes(len(found) + 1, first)):
        found.append(size)
    assert left
    return found


def test_parts_of_what_is_known_are_equal() -> None:
    """Some compatibles demand parts of one size."""
    assert {part_bytes(number, first_part_bytes(0)) for number in range(1, 1001)} == {FIRST_PART_BYTES}
    for gigabytes in (7, 8, 9, 33, 62):
        total = gigabytes << 30
        assert len(set(sizes(total, first_part_bytes(total)))) == 1
    for total in (9 << 30, 500 << 30, 4 * TIB):
        assert len(set(sizes(total, first_part_bytes(total, equal=True)))) == 1
    assert {part_bytes(number, first_part_bytes(0, equal=True)) for number in range(1, 1001)} == {EQUAL_PART_BYTES}
