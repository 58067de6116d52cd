"""The ending of a restore of files: where they are, the report, the evidence, the message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator, Context

from backup_playbook.core.evidence import Restored
from backup_playbook.core.markdown import cell
from backup_playbook.core.progress import human_seconds
from backup_playbook.core.report import Report
from backup_playbook.core.words import counted
from backup_playbook.notifiers.message import Severity
from backup_playbook.notifiers.runs import run_url
from backup_playbook.operators.base import SourceOperator, texts
from backup_playbook.operators.handoffs import Restoring
from backup_playbook.operators.report import Ended, ended, finish, steps_of

COUNTED = {
    "file": "files", "directory": "folders", "symlink": "links", "right_already": "right already",
    "kept_newer": "newer ones that stay", "other_attributes": "right, with modes, owners or times that stay",
    "without_xattrs": "right, without their extended attributes (ACLs, say)",
    "hard_links": "files that were several names of one (hard links), each a file of its own now",
    "failed": "not restored", "left_out": "without a content",
}  # fmt: skip
"""What is counted, in words."""
KEPT_NEWER = "kept_newer"


class DocumentFilesRestore(SourceOperator):
    """Write the report of a restore of files, and evidence beside the backup; tell people where their files are.

    Fails when a step of the restore did.

    :param steps: the steps of the restore, in their order.
    :param target: of targets.yaml, where a new directory was made.
    :param leave_out: paths that a person could do without.
    """

    template_fields: Sequence[str] = ("source", "target", "leave_out")

    def __init__(
        self, *, steps: Sequence[BaseOperator], target: str = "", leave_out: Sequence[str] | str = (), **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.steps = steps_of(steps)
        self.target = target
        self.leave_out = leave_out

    def execute(self, context: Context) -> dict[str, Any]:
        """Write down what became of the run."""
        end, instance, now = ended(context, self.steps), context["ti"], datetime.now(UTC)
        known = Restoring.read(end.handoff) if end.handoff else None
        headline, severity, remedy = outcome_of(self.source, end, texts(self.leave_out))
        phases = known.phases if known else {}
        said = [
            str(end.facts.get("planned", "")),
            _counted("restored", end.facts.get("restored")),
            _counted("proven", end.facts.get("compared")),
            ", ".join(f"{name} in {human_seconds(seconds)}" for name, seconds in phases.items()),
        ]
        report = Report(
            kind="files-restore",
            source=self.source,
            headline=headline,
            in_short=". ".join(filter(None, ["; ".join(filter(None, said)), end.problem])),
            failed_step=end.failed,
            problem=end.problem,
            backup_id=known.backup_id if known else "",
            taken_at=known.taken_at if known else None,
            repository=known.repository if known else self.access.repositories[0],
            run_id=instance.run_id,
            run_url=run_url(instance.dag_id, instance.run_id),
            started_at=known.started_at if known else now,
            finished_at=now,
            approved_by=end.approved_by,
            phases=phases,
            rto_objective=self.config.objectives_of(self.source).rto,
            facts={"restored into": cell(end.facts["root"])} if "root" in end.facts else {},
            remarks=tuple(end.facts.get("remarks") or ()),
            details={"handoff": known.as_json() if known else None, **end.facts},
        )

        def write_evidence(address: str) -> list[str]:
            return self._evidence(known, end, report, address) if known else []

        return finish(context, report, self.access, write_evidence=write_evidence, severity=severity, remedy=remedy)

    def _evidence(self, known: Restoring, end: Ended, report: Report, address: str) -> list[str]:
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
