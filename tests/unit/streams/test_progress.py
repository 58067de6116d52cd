import logging

import pytest

from backup_playbook.streams import progress
from backup_playbook.streams.progress import Progress


def test_blocks_pass_unchanged_and_estimates_end_exact() -> None:
    with Progress("shop", 300) as counted:
        assert list(counted.track([b"a" * 40, b"b" * 200], 100)) == [b"a" * 40, b"b" * 200]
        assert list(counted.track([b"c" * 50], 200)) == [b"c" * 50]
        assert (counted._done, counted._passed) == (300, 290)


def test_logs_while_a_stream_passes(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress, "INTERVAL_SECONDS", 0.01)
    caplog.set_level(logging.INFO)
    with Progress("shop", 1000) as counted:
        for _ in counted.track((b"x" for _ in range(1000)), 1000):
            if any("shop: " in line for line in caplog.messages):
                break
            counted._stop.wait(0.005)
    assert any("of about 1000 B" in line for line in caplog.messages)


def test_thread_ends_with_the_block() -> None:
    with Progress("shop", 1) as counted:
        pass
    assert not counted._thread.is_alive()
