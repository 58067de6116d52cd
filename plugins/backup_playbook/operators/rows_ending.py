"""Fields of the forms about rows, and the end of a recovery of rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, task
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.config import load_config
from backup_playbook.core.holdings import counted
from backup_playbook.core.masking import HIDDEN
from backup_playbook.core.progress import human_seconds
from backup_playbook.core.row_recovery import not_restored
from backup_playbook.dag_parts.approval import approved_by
from backup_playbook.dag_parts.recovery_form import choice_param, optional_list_param
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import first_failure, run_url, tell

STEPS = ("choose_backup", "create_scratch", "find_{}", "approve_plan", "import_{}", "verify_{}")
SUMMARY = "summary"
"""XCom of the step that finds: its PLAN without rows, for people who do not decide."""
UNDO = {
    "rows": "run it with psql in production",
    "documents": "run it in production, as it says at its top",
}
"""What is recovered, and how its undo is run."""


def table_param(default: str | None = None) -> Param:
    return Param(
        default,
        type=["null", "string"] if default == "" else "string",
        title="Table",
        description_md="`schema.table`, or a table of the schema public.",
        minLength=0 if default == "" else 1,
        examples=["public.users", "public.orders"],
    )


def keys_param() -> Param:
    return optional_list_param("Keys", 'Primary keys, one a line; of several columns, as JSON: ["12", "3"].')


def on_conflict_param(what: str) -> Param:
    return choice_param(
        "On conflict",
        f"`stop` names what stands in the way; `skip` leaves such {what} out; `overwrite` replaces {what} that differ.",
        "stop", "skip", "overwrite",
    )  # fmt: skip


def without_values(form: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, without what may name people: keys and conditions stand in the run itself."""
    hidden = {name: HIDDEN for name in ("keys", "where", "ids", "query") if form.get(name)}
    return {**form, **hidden}


@task(task_id="document_result", trigger_rule="all_done", retries=0)
def document_rows(ti: Any, params: dict[str, Any], what: str = "rows") -> dict[str, str]:
    """Write the report, and tell people. Fails when a step of the recovery did. what: of UNDO."""
    from backup_playbook.dag_parts.repositories import keep_report

    failed, problem = first_failure(ti, [step.format(what) for step in STEPS])
    recovered = ti.xcom_pull(f"import_{what}") or {}
    chosen = ti.xcom_pull(f"find_{what}") or ti.xcom_pull("choose_backup")
    source, address = params["source"], ""
    inserted, overwritten = (sum(recovered.get(what, {}).values()) for what in ("inserted", "overwritten"))
    headline = f"Back in {source}: {counted(inserted + overwritten, what.removesuffix('s'))}"
    if recovered.get("cut"):
        headline += f", without {not_restored(recovered['cut'])}"
    if failed:
        headline = f"Recovery of {what} of {source} failed at {failed}"
    counts = ", ".join(f"{count:,} of {name}" for name, count in recovered.get("inserted", {}).items())
    lines = [problem] if failed else []
    if recovered:
        lines.append(f"Inserted: {counts or 'none'}; overwritten: {overwritten:,}.")
    elif not failed.startswith("import_"):
        lines.append("Nothing was written to production.")
    if recovered.get("undo"):
        lines.append(f"To undo: fetch {recovered['undo']} and {UNDO[what]}.")
    if chosen:
        now = datetime.now(UTC)
        took = (now - datetime.fromisoformat(chosen["started_at"])).total_seconds()
        approved = approved_by(ti.xcom_pull("approve_plan"))
        report = {
            "source": source,
            "backup_id": chosen["backup_id"],
            "repository": chosen["repository"],
            "form": without_values(params),
            "run": run_url(ti.dag_id, ti.run_id),
            "started_at": chosen["started_at"],
            "finished_at": now.isoformat(),
            "seconds": took,
            "phases": chosen["phases"],
            "approved_by": approved,
            "failed_step": failed,
            "problem": problem,
            "recovered": recovered,
            "verified": ti.xcom_pull(f"verify_{what}"),
        }
        text = [f"# {headline}", "", *lines, "", f"Approved by: {approved or '-'}. Took {human_seconds(took)}.", ""]
        address, lost = keep_report(
            load_config(),
            source,
            chosen["repository"],
            f"{what}-{now:%Y%m%dT%H%M%SZ}",
            json.dumps(report, indent=1, default=str).encode(),
            "\n".join([*text, ti.xcom_pull(f"find_{what}", key=SUMMARY) or "", ""]),
        )
        lines.append(lost or f"Report: {address}")
    message = Message(
        severity="high" if failed else "info",
        headline=headline,
        lines=tuple(lines),
        remedy="open the red task, correct what its error names, and clear it." if failed else "",
        link=run_url(ti.dag_id, ti.run_id),
    )
    tell(ti, message)
    if failed:
        raise AirflowFailException("\n".join([headline, *message.paragraphs]))
    return {"report": address, "undo": recovered.get("undo", "")}
