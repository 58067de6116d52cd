"""The outbox against a real S3 server."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from backup_playbook.core.errors import RepositoryError
from backup_playbook.repository.outbox import AT_ONCE, KEPT, Outbox
from backup_playbook.repository.store import ObjectStore
from tests.support.s3_proxy import Fault, S3Proxy, from_on

NOW = datetime(2026, 11, 23, 2, 10, 59, 123000, tzinfo=UTC)


@pytest.fixture
def outbox(store: ObjectStore) -> Outbox:
    return Outbox(store)


def bodies(outbox: Outbox, now: datetime = NOW) -> list[bytes]:
    return [item.body for item in outbox.waiting(now)]


def test_oldest_first_whoever_put_them(outbox: Outbox, store: ObjectStore) -> None:
    for seconds in (2, 0, 1):
        Outbox(store).put(b"%d" % seconds, NOW + timedelta(seconds=seconds))
    assert bodies(outbox) == [b"0", b"1", b"2"]
    assert next(outbox.waiting(NOW)).since == NOW


def test_two_of_one_moment_are_both_kept(outbox: Outbox) -> None:
    for body in (b"a", b"b"):
        outbox.put(body, NOW)
    assert sorted(bodies(outbox)) == [b"a", b"b"]


def test_delivered_ones_are_gone_also_when_two_workers_delivered_them(outbox: Outbox, store: ObjectStore) -> None:
    outbox.put(b"x", NOW)
    for item in [*outbox.waiting(NOW), *Outbox(store).waiting(NOW)]:
        outbox.remove(item)
    assert list(store.list("outbox/")) == []


def test_takes_no_more_than_a_handful_at_once(outbox: Outbox) -> None:
    for number in range(AT_ONCE + 2):
        outbox.put(b"%d" % number, NOW + timedelta(seconds=number))
    assert bodies(outbox) == [b"%d" % number for number in range(AT_ONCE)]


def test_old_news_is_dropped_into_the_log(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    outbox.put(b"old news", NOW - KEPT - timedelta(seconds=1))
    outbox.put(b"news", NOW - KEPT + timedelta(seconds=1))
    with caplog.at_level(logging.WARNING):
        assert bodies(outbox) == [b"news"]
    assert "Dropped from" in caplog.text
    assert "after 7 days: old news" in caplog.text
    assert bodies(outbox, NOW - KEPT) == [b"news"], "it was removed"


def test_leaves_alone_what_is_not_its_own(outbox: Outbox, store: ObjectStore) -> None:
    store.put("outbox/README.txt", b"who knows")
    assert bodies(outbox) == []
    assert store.get("outbox/README.txt") == b"who knows"


def test_store_that_fails(outbox: Outbox, proxy: S3Proxy) -> None:
    proxy.reset(from_on(1, Fault(503, code="SlowDown")))
    with pytest.raises(RepositoryError, match=r"Cannot write .*outbox/"):
        outbox.put(b"x", NOW)
    with pytest.raises(RepositoryError, match=r"Cannot list .*outbox/"):
        bodies(outbox)
