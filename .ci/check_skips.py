"""Fails when a test was skipped that the allow-list does not name: `check_skips.py JUNIT_XML ALLOW_LIST`.

A skipped test looks like a passed one. The allow-list has one line per test that may be skipped,

    tests.integration.test_name::test_function*  the reason

where the name is a shell pattern without spaces and the reason is required. A test that is expected to fail (xfail) is
no skip: pytest itself fails it when it passes.
"""

import sys
import xml.etree.ElementTree as ET
from fnmatch import fnmatchcase
from pathlib import Path


def allowed_patterns(allow_list: Path) -> list[str]:
    """Patterns of the allow-list; a line without a reason is an error."""
    patterns = []
    for number, line in enumerate(allow_list.read_text().splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        pattern, _, reason = line.partition(" ")
        if not reason.strip():
            sys.exit(f"{allow_list}:{number}: add the reason why {pattern} may be skipped.")
        patterns.append(pattern)
    return patterns


def skipped_tests(junit_xml: Path) -> dict[str, str]:
    """Reason by test name, for every skipped test."""
    skipped = {}
    for case in ET.parse(junit_xml).iter("testcase"):
        for skip in case.iter("skipped"):
            if skip.get("type") != "pytest.xfail":
                skipped[f"{case.get('classname')}::{case.get('name')}"] = skip.get("message") or "no reason given"
    return skipped


def main(junit_xml: Path, allow_list: Path) -> int:
    """Compare the skipped tests with the list of those that may be; returns the exit code."""
    if not junit_xml.is_file():
        print("No test results were written: the test run died before its end.", file=sys.stderr)
        return 1
    patterns = allowed_patterns(allow_list)
    not_allowed = {
        name: reason
        for name, reason in skipped_tests(junit_xml).items()
        if not any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    for name, reason in not_allowed.items():
        print(f"SKIPPED {name}: {reason}", file=sys.stderr)
    if not_allowed:
        print(
            f"{len(not_allowed)} skipped: make what they need available, or name them in {allow_list} with the reason.",
            file=sys.stderr,
        )
    return 1 if not_allowed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
