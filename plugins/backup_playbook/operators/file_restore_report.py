"""The ending of a restore of files: where they are, the report, the evidence, the message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from backup_playbook.core.evidence import Restored
from backup_playbook.core.markdown import cell
from backup_playbook.core.progress import human_seconds
from backup_playbook.core.report import Report
from backup_playbook.core.words import counted
from backup_playbook.notifiers.message import Severity
from backup_playbook.operators.base import texts
from backup_playbook.operators.handoffs import Restoring
from backup_playbook.operators.report import Ended, Ending

COUNTED = {
    "file": "files", "directory": "folders", "symlink": "links", "right_already": "right already",
    "kept_newer": "newer ones that stay", "other_attributes": "right, with modes, owners or times that stay",
    "without_xattrs": "right, without their extended attributes (ACLs, say)",
    "hard_links": "files that were several names of one (hard links), each a file of its own now",
    "failed": "not restored", "left_out": "without a content",
}  # fmt: skip
"""What is counted, in words."""
KEPT_NEWER = "kept_newer"


class DocumentFilesRestore(Ending):
    """End a restore of files: its report, evidence beside the backup, and where the files are.

    :param steps: the steps of the restore, in the order in which they can fail.
    :param target: of targets.yaml, where a new directory was made.
    :param leave_out: paths that a person could do without.
    """

    kind = "files-restore"
    template_fields: Sequence[str] = ("source", "target", "leave_out")

    def __init__(self, *, target: str = "", leave_out: Sequence[str] | str = (), **arguments: Any) -> None:
        super().__init__(**arguments)
        self.target = target
        self.leave_out = leave_out

    def describe(self, known: Restoring | None, end: Ended, now: datetime) -> dict[str, Any]:  # noqa: ARG002
        """Return what the report says."""
        said = [
            str(end.facts.get("planned", "")),
            _counted("restored", end.facts.get("restored")),
            _counted("proven", end.facts.get("compared")),
            ", ".join(
                f"{name} in {human_seconds(seconds)}" for name, seconds in (known.phases if known else {}).items()
            ),
        ]
        return {
            "headline": outcome_of(self.source, end, texts(self.leave_out))[0],
            "in_short": ". ".join(filter(None, ["; ".join(filter(None, said)), end.problem])),
            "facts": {"restored into": cell(end.facts["root"])} if "root" in end.facts else {},
            "remarks": tuple(end.facts.get("remarks") or ()),
        }

    def severity(self, end: Ended) -> Severity:
        """Return how grave it is for people: newer files that stayed are worth a look."""
        return outcome_of(self.source, end, ())[1]

    def remedy_of(self, end: Ended) -> str:
        """Return what people can do."""
        return outcome_of(self.source, end, ())[2]

    def write_evidence(self, known: Restoring, end: Ended, report: Report, address: str) -> list[str]:
        """Write evidence: the backup is damaged, or all of it was proven. Returns what could not be written."""
        backups, damaged = self.access.backups, end.facts.get("damaged")
        if end.failed:
            return backups.add_finding(known.backup_id, known.repository, damaged, end.problem) if damaged else []
        if not end.facts.get("whole"):
            return []
        proof = Restored(
            report=address,
            seconds=known.phases,
            rto_seconds=(report.finished_at - report.started_at).total_seconds(),
            content_bytes=None,
            target=self.target,
            repository=known.repository,
            paths=end.facts["compared"]["paths"],
            run=report.run_id,
        )
        return backups.add_proof(known.backup_id, known.origin, proof)


def outcome_of(source: str, end: Ended, leave_out: Sequence[str]) -> tuple[str, Severity, str]:
    """Return headline, severity and remedy."""
    if end.rejected_by:
        return f"Files of {source} were not restored: {end.rejected_by} rejected it; nothing was touched", "info", ""
    root, counts = end.facts.get("root"), end.facts.get("restored") or {}
    if end.failed:
        what = f"are not all back in {root}" if root else "were not restored"
        is_restored = "restore" in (end.handoff or {}).get("phases", {})
        what = f"are in {root}, and not proven" if is_restored else what
        remedy = "open the red task; when its cause is gone, clear it."
        return f"Files of {source} {what}: {end.failed} failed", "high", remedy
    without = f", without {counted(len(leave_out), 'path')} that the form left out" if leave_out else ""
    if not (kept := counts.get(KEPT_NEWER, 0)):
        return f"Files of {source} are back and proven equal{without}: {root}", "info", ""
    newer = f"{counted(kept, 'file')} written after the backup, which stayed"
    brought = any(counts.get(kind) for kind in ("files", "hard_links", "links", "right_already"))
    headline = f"Files of {source} are back and proven equal{without}, but not {newer}: {root}"
    if not brought:
        headline = f"Nothing of {source} was brought back: there was only {newer}: {root}"
    return headline, "medium", "start again with *Overwrite newer*, when the content of the backup is wanted for them."


def _counted(what: str, counts: Mapping[str, int] | None) -> str:
    listed = ", ".join(f"{COUNTED.get(name, name)} {count:,}" for name, count in (counts or {}).items())
    return f"{what}: {listed}" if listed else ""
