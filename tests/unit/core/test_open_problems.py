"""A problem is told once, a change of its severity is news, and so is its end."""

from dataclasses import replace
from datetime import UTC, datetime

from backup_playbook.core.health import Finding
from backup_playbook.core.open_problems import OpenProblem, what_to_tell

NOW = datetime(2026, 11, 23, 3, 0, 4, tzinfo=UTC)
LATE = Finding("shop/today", "high", "shop", "There is no backup of 2026-11-23.", "", "Run it.")
SMALL = Finding("shop/unusual_size", "medium", "shop", "It is small.", "", "Look.")
OTHER = Finding("crm/today", "high", "crm", "There is no backup of 2026-11-23.", "", "Run it.")
BLIND = Finding("shop/unreadable/primary", "critical", "shop", "AccessDenied", "", "Grant.", blinding=True)


def told(*findings: Finding) -> dict[str, OpenProblem]:
    return {finding.key: OpenProblem.of(finding, NOW) for finding in findings}


def test_new_problems_are_told() -> None:
    assert what_to_tell({}, [LATE, SMALL]) == ([LATE, SMALL], {}, [])


def test_no_repeats_while_it_lasts_though_the_words_change() -> None:
    tomorrow = replace(LATE, what="There is no backup of 2026-11-24.")
    assert what_to_tell(told(LATE), [tomorrow]) == ([], {}, [tomorrow])


def test_another_severity_is_news() -> None:
    graver = replace(SMALL, severity="high")
    assert what_to_tell(told(SMALL), [graver]) == ([graver], {}, [])


def test_end_is_told() -> None:
    problems = told(LATE, OTHER)
    assert what_to_tell(problems, [OTHER]) == ([], {LATE.key: problems[LATE.key]}, [OTHER])
    assert what_to_tell({}, []) == ([], {}, [])


def test_what_cannot_be_seen_is_not_over() -> None:
    problems = told(LATE, OTHER)
    news = what_to_tell(problems, [BLIND])
    assert news == ([BLIND], {OTHER.key: problems[OTHER.key]}, [])
