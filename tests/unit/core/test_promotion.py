"""Names and states of a promotion."""

from datetime import UTC, datetime

import pytest

from backup_playbook.core.errors import GuardError
from backup_playbook.core.promotion import is_quarantine_name, quarantine_name, restored_name
from backup_playbook.engines.postgres.swap import DatabaseEntry, Swap

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SWAP = Swap("shop", 1, "scratch_shop_00000000", 2, "shop__quarantine_20261123_120000")


def entry(oid: int, *, accepts: bool = True) -> DatabaseEntry:
    return DatabaseEntry(oid, accepts)


def test_states() -> None:
    candidate = {SWAP.candidate: entry(2)}
    assert SWAP.state({"shop": entry(1), **candidate}) == "before"
    assert SWAP.state({"shop": entry(1, accepts=False), **candidate}) == "closed"
    assert SWAP.state({"shop": entry(2), SWAP.quarantine: entry(1, accepts=False)}) == "promoted"


@pytest.mark.parametrize(
    "databases",
    [
        {},
        {"shop": entry(1)},
        {"shop": entry(3), SWAP.candidate: entry(2)},
        {"shop": entry(1), SWAP.candidate: entry(3)},
        {"shop": entry(1), SWAP.candidate: entry(2), SWAP.quarantine: entry(4)},
        {"shop": entry(2), SWAP.quarantine: entry(4)},
    ],
    ids=str,
)
def test_whatever_else_is_there_is_not_touched(databases: dict[str, DatabaseEntry]) -> None:
    with pytest.raises(GuardError, match="another recovery, or a person"):
        SWAP.state(databases)


@pytest.mark.parametrize("live", ["shop", "x" * 63, "ü" * 31, 'a"b'])
def test_quarantine_names_fit_and_are_recognised(live: str) -> None:
    name = quarantine_name(live, NOW)
    assert name.endswith("__quarantine_20261123_120000")
    assert len(name.encode()) <= 63
    assert name[:4] == live[:4] or live.startswith(name.partition("__")[0])
    assert is_quarantine_name(name)


def test_restored_copies_are_no_quarantine() -> None:
    name = restored_name("shop", NOW)
    assert name == "shop__restored_20261123_120000"
    assert not is_quarantine_name(name)


@pytest.mark.parametrize("name", ["shop", "shop__quarantine_", "__quarantine_20261123_120000", "shop__quarantine_1"])
def test_other_names_are_no_quarantine(name: str) -> None:
    assert not is_quarantine_name(name)
