"""The stopwatch: order of turns, what counts, what is cleaned up."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.measure import Contestant, Series, peak_rss, race, ratio


class Recorder(Contestant):
    what = "records its calls"

    def __init__(self, name: str, calls: list[str], fails: bool = False) -> None:
        self.name, self._calls, self._fails = name, calls, fails

    def before(self) -> None:
        self._calls.append(f"before {self.name}")

    def run(self) -> None:
        self._calls.append(f"run {self.name}")
        if self._fails:
            raise RuntimeError(self.name)

    def after(self) -> int:
        self._calls.append(f"after {self.name}")
        return len(self._calls)


class Python(Contestant):
    """Runs a Python program, as the real contestants run theirs."""

    name = what = "python"

    def __init__(self, program: str) -> None:
        self._program = program

    def run(self) -> None:
        subprocess.run([sys.executable, "-c", self._program], check=True)


def silent(line: str) -> None:
    pass


def test_contestants_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    results = race([Recorder("a", calls), Recorder("b", calls)], 3, silent)
    assert calls == ["before a", "run a", "after a", "before b", "run b", "after b"] * 4
    assert [len(series.seconds) for series in results.values()] == [3, 3]
    assert results["a"].stored_bytes == [9, 15, 21]


def test_a_failed_contestant_is_cleaned_up_and_ends_the_race() -> None:
    calls: list[str] = []
    with pytest.raises(RuntimeError, match="a"):
        race([Recorder("a", calls, fails=True), Recorder("b", calls)], 3, silent)
    assert calls == ["before a", "run a", "after a"]


def test_bytes_written_by_children_of_children_are_counted(tmp_path: Path) -> None:
    inner = f"open({str(tmp_path / 'file')!r}, 'wb').write(bytes(5_000_000))"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    series = race([Python(program)], 1, silent)["python"]
    if (written := series.disk_bytes[0]) == 0:
        pytest.fail("the kernel does not account for writes to this file system: measure on a disk, not on tmpfs")
    assert 5_000_000 <= written < 6_000_000


def test_peak_rss_sees_what_runs_at_the_same_time() -> None:
    inner = "import time; block = bytearray(60_000_000); time.sleep(0.6)"
    program = (
        f"import subprocess, sys; block = bytearray(80_000_000); subprocess.run([sys.executable, '-c', {inner!r}])"
    )
    assert 140_000_000 < peak_rss(Python(program)) < 200_000_000


def test_ratio_is_of_medians_and_its_spread_of_rounds() -> None:
    slow, fast = Series("", [10.0, 12.0, 30.0]), Series("", [5.0, 4.0, 6.0])
    assert ratio(slow, fast) == (12 / 5, (2.0, 5.0))
