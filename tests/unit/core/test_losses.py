"""What is a loss, table by table, and what is a table's way."""

import pytest

from backup_playbook.core.losses import Loss, losses, losses_in_words

PAYMENTS = {"payments": 30_058, "events": 4_000_000}


def test_one_table_among_large_ones() -> None:
    assert losses_in_words(losses({**PAYMENTS, "payments": 20_060}, [PAYMENTS])) == "payments 30,058 -> 20,060"
    assert losses({**PAYMENTS, "payments": 29_000}, [PAYMENTS]) == []


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [(12, 3, True), (12, 8, False), (3, 1, True), (2, 1, False), (1, 0, True), (0, 0, False), (60, 51, False)],
)
def test_small_tables(before: int, after: int, lost: bool) -> None:
    assert bool(losses({"plans": after}, [{"plans": before}])) is lost


@pytest.mark.parametrize(
    ("history", "now", "lost"),
    [
        ([500, 20, 800, 30, 600], 25, False),  # a queue
        ([500, 0, 800, 0, 600], 0, False),
        ([5000, 4800, 4600, 1200, 5100, 4900, 4700], 1150, False),  # purged each week
        ([5000, 4800, 4600, 1200, 5100, 4900, 4700], 300, True),
        ([20_000, 19_000, 18_000], 9_000, True),  # it only ever grew
        ([20_000, 200], 9_000, True),
        ([20_500, 20_400, 20_300, 40_000], 15_000, True),  # it was cleaned up once, on purpose
    ],
)
def test_against_its_own_history(history: list[int], now: int, lost: bool) -> None:
    assert bool(losses({"jobs": now}, [{"jobs": rows} for rows in history])) is lost


def test_gone_first_and_not_when_others_took_their_place() -> None:
    before = {"log_20261101": 9, "log_20261102": 9, "users": 40, "orders": 900}
    found = losses({"log_20261102": 9, "log_20261103": 9, "orders": 2}, [before])
    assert found == [Loss("users", 40, None), Loss("orders", 900, 2)]
    assert losses_in_words(found) == "users 40 -> gone, orders 900 -> 2"
    assert [one.name for one in losses({"users": 40, "orders": 900}, [before])] == ["log_20261101", "log_20261102"]


def test_history_is_read_only_when_there_is_something_to_judge() -> None:
    def older() -> object:
        yield PAYMENTS
        raise AssertionError("one is enough")

    assert losses(PAYMENTS, older()) == []  # type: ignore[arg-type]
    assert losses(PAYMENTS, []) == []
