"""When a person must look before a backup follows what was deleted."""

import pytest

from backup_playbook.core.files_guard import DeleteLimits, Losses, reason_to_stop

LIMITS = DeleteLimits(share=0.25, number=1_000)


@pytest.mark.parametrize(
    ("before", "vanished", "emptied", "limit"),
    [
        (100, 26, 0, "25%"),
        (100, 0, 26, "25%"),
        (100, 20, 6, "25%"),
        (100_000, 1_001, 0, "1,000 files"),
        (3, 3, 0, "25%"),
        (1, 0, 1, "25%"),
    ],
)
def test_stops(before: int, vanished: int, emptied: int, limit: str) -> None:
    reason = reason_to_stop(Losses(before, vanished, emptied), LIMITS)
    assert f"{vanished:,} vanished, {emptied:,} shrank to nothing" in reason
    assert reason.endswith(f"The guard allows {limit}.")


@pytest.mark.parametrize(
    ("before", "vanished", "emptied"), [(0, 0, 0), (100, 25, 0), (100_000, 1_000, 0), (12, 10, 0), (11, 5, 5)]
)
def test_passes(before: int, vanished: int, emptied: int) -> None:
    assert reason_to_stop(Losses(before, vanished, emptied), LIMITS) == ""


def test_limits_of_nothing_and_of_everything() -> None:
    assert reason_to_stop(Losses(100, 1, 0), DeleteLimits(share=1, number=0))
    assert reason_to_stop(Losses(100, 100, 0), DeleteLimits(share=1, number=1_000)) == ""
