"""`.ci/check_skips.py`: a test that was skipped without leave fails continuous integration."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = """<testsuites><testsuite>
  <testcase classname="tests.unit.test_a" name="test_passed"/>
  <testcase classname="tests.unit.test_a" name="test_skipped[x]">
    <skipped type="pytest.skip" message="no gpg"/>
  </testcase>
  <testcase classname="tests.unit.test_a" name="test_xfail"><skipped type="pytest.xfail" message=""/></testcase>
</testsuite></testsuites>"""


def check(folder: Path, allow_list: str, results: str | None = RESULTS) -> "subprocess.CompletedProcess[str]":
    (folder / "allowed.txt").write_text(allow_list)
    if results is not None:
        (folder / "junit.xml").write_text(results)
    return subprocess.run(
        [sys.executable, PROJECT / ".ci/check_skips.py", folder / "junit.xml", folder / "allowed.txt"],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_skip_fails(tmp_path: Path) -> None:
    result = check(tmp_path, "# nothing\n")
    assert result.returncode == 1
    assert "tests.unit.test_a::test_skipped[x]: no gpg" in result.stderr
    assert "test_xfail" not in result.stderr


def test_an_allowed_skip_passes(tmp_path: Path) -> None:
    assert check(tmp_path, "tests.unit.test_a::test_skipped*  gpg is not on this machine\n").returncode == 0


def test_leave_needs_a_reason(tmp_path: Path) -> None:
    result = check(tmp_path, "tests.unit.test_a::test_skipped*\n")
    assert result.returncode == 1
    assert "add the reason" in result.stderr


def test_no_results_fail(tmp_path: Path) -> None:
    result = check(tmp_path, "", results=None)
    assert result.returncode == 1
    assert "died before its end" in result.stderr
