"""News about problems: a problem is told when it appears, when its severity changes, and when it is resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from backup_playbook.core.health import Finding
from backup_playbook.core.newest_backup import FindingSeverity


@dataclass(frozen=True)
class OpenProblem:
    """A finding that people were told about. `since`: time of the first message, ISO 8601."""

    severity: FindingSeverity
    source: str
    what: str
    since: str

    @classmethod
    def of(cls, finding: Finding, now: datetime) -> OpenProblem:
        """Open problem from a finding."""
        return cls(finding.severity, finding.source, finding.what, now.isoformat(timespec="seconds"))


class News(NamedTuple):
    """Problems by what people must be told of them."""

    new: list[Finding]
    """Findings that people do not know of, or know with another severity."""
    ended: dict[str, OpenProblem]
    """Resolved problems, by key."""
    still_open: list[Finding]


def what_to_tell(told: Mapping[str, OpenProblem], findings: Sequence[Finding]) -> News:
    """Compare the findings with what people know.

    told: problems that people know of, by key. A problem of a source that cannot be looked at is not resolved.
    """
    unseen = {finding.source for finding in findings if finding.blinding}
    found = {finding.key for finding in findings}
    known = {
        finding.key for finding in findings if finding.key in told and told[finding.key].severity == finding.severity
    }
    return News(
        new=[finding for finding in findings if finding.key not in known],
        ended={key: one for key, one in told.items() if key not in found and one.source not in unseen},
        still_open=[finding for finding in findings if finding.key in known],
    )
