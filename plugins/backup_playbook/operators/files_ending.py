"""The form of a restore of files, who is asked, and what is told at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context, Param, task
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.config import FilesTarget, load_config
from backup_playbook.core.holdings import counted
from backup_playbook.core.progress import human_seconds
from backup_playbook.dag_parts.approval import IN_SHORT, ApprovePlan, by_nobody
from backup_playbook.dag_parts.recovery_form import choices, optional_text_param
from backup_playbook.notifiers.message import Message, Severity
from backup_playbook.notifiers.runs import first_failure, run_url, tell
from backup_playbook.operators.file_restore import IN_PLACE, REMARKS, RESULT
from backup_playbook.operators.restore import DAMAGED

COUNTED = {
    "file": "files", "directory": "folders", "symlink": "links", "right_already": "right already",
    "kept_newer": "newer ones that stay", "other_attributes": "right, with modes, owners or times that stay",
    "without_xattrs": "right, without their extended attributes (ACLs, say)",
    "hard_links": "files that were several names of one (hard links), each a file of its own now",
    "failed": "not restored", "left_out": "without a content",
}  # fmt: skip
"""What is counted, in words."""
KEPT_NEWER = "kept_newer"
STEPS = ("choose_backup", "plan_restore", "approve_plan", "restore", "prove")


def path_param(description: str) -> Param:
    words = f"{description} As seen from the source: invoices/2026/12.pdf; a folder with a slash at its end: invoices/"
    return optional_text_param("Path", words)


def files_target_param() -> Param:
    names = [name for name, target in load_config().targets.items() if isinstance(target, FilesTarget)]
    return Param(
        names[0] if names else "",
        type="string",
        title="Target",
        description="Where the new directory is made; from targets.yaml.",
        **choices(names),
    )


class ApproveInPlace(ApprovePlan):
    """Asks only when the source itself is written to."""

    def execute(self, context: Context) -> Any:
        form: Any = context["params"]
        if form["destination"] == IN_PLACE:
            return super().execute(context)
        return by_nobody(self.APPROVE)


@task(trigger_rule="all_done", retries=0)
def report_result(ti: Any, params: dict[str, Any]) -> str:
    """Tell people where their files are. Fails when a step did."""
    failed, problem = first_failure(ti, STEPS)
    in_short = ti.xcom_pull("plan_restore", key=IN_SHORT) or ""
    restored, compared = (ti.xcom_pull(step, key=RESULT) or {} for step in ("restore", "prove"))
    proven, source = ti.xcom_pull("prove"), params["source"]
    headline, severity, remedy = outcome_of(source, failed, restored, params.get("leave_out") or ())
    lines = [in_short, _counted("restored", restored), _counted("proven", compared)]
    if proven:
        lines.append(", ".join(f"{name} in {human_seconds(seconds)}" for name, seconds in proven["phases"].items()))
    lines += ti.xcom_pull("prove", key=REMARKS) or []
    lines += _finding(ti, problem)
    tell(
        ti,
        Message(
            severity=severity,
            headline=headline,
            lines=tuple(line for line in (*lines, problem) if line),
            remedy=remedy,
            link=run_url(ti.dag_id, ti.run_id),
        ),
    )
    if failed:
        raise AirflowFailException(f"{headline}. {problem}")
    return headline


def _finding(ti: Any, problem: str) -> list[str]:
    """What a restore found out about the backup is written down beside it. Returns what could not be."""
    from backup_playbook.dag_parts.repositories import add_finding

    tested = ti.xcom_pull("plan_restore")
    found = next((found for step in ("restore", "prove") if (found := ti.xcom_pull(step, key=DAMAGED))), None)
    if not (tested and found and problem):  # a second try that passed has none
        return []
    return add_finding(load_config(), tested["source"], tested["backup_id"], tested["repository"], found, problem)


def outcome_of(
    source: str, failed: str, restored: dict[str, Any], leave_out: Sequence[str]
) -> tuple[str, Severity, str]:
    """Headline, severity and remedy."""
    counts, root = restored.get("counts", {}), restored.get("root")
    if failed:
        what = f"are not all back in {root}" if restored else "were not restored"
        what = f"are in {root}, and not proven" if failed == "prove" else what
        remedy = "open the red task; when its cause is gone, clear it."
        return f"Files of {source} {what}: {failed} failed", "high", remedy
    without = f", without {counted(len(leave_out), 'path')} that the form left out" if leave_out else ""
    if not (kept := counts.get(KEPT_NEWER, 0)):
        return f"Files of {source} are back and proven equal{without}: {root}", "info", ""
    newer = f"{counted(kept, 'file')} written after the backup, which stayed"
    brought = any(counts.get(kind) for kind in ("files", "hard_links", "links", "right_already"))
    headline = f"Files of {source} are back and proven equal{without}, but not {newer}: {root}"
    if not brought:
        headline = f"Nothing of {source} was brought back: there was only {newer}: {root}"
    return headline, "medium", "start again with *Overwrite newer*, when the content of the backup is wanted for them."


def _counted(what: str, result: dict[str, Any]) -> str:
    counts = result.get("counts", {})
    listed = ", ".join(f"{COUNTED.get(name, name)} {count:,}" for name, count in counts.items())
    return f"{what}: {listed}" if counts else ""
