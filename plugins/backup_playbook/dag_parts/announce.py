"""What a run says at its end."""

from __future__ import annotations

from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.core.progress import human_bytes, human_seconds
from backup_playbook.notifiers import slack

GROUP = "protect"
_STEPS = {
    "dump_compress_upload": "the backup failed",
    "verify": "the backup was not verified",
    "copy_offsite": "there is no off-site copy",
    "verify_offsite": "the off-site copy was not verified",
}


@task(trigger_rule="all_done", retries=0)
def announce_result(sources: list[str]) -> list[dict[str, Any]]:
    """Tell people what was backed up and proven; fail the run when anything is missing. Returns one entry per source."""
    context = get_current_context()
    results = [_result(context["ti"], source, index) for index, source in enumerate(sources)]
    failed = [result for result in results if result["problem"]]
    done = len(results) - len(failed)
    headline = f"{done} of {len(results)} databases are backed up and verified"
    lines = [_line(result) for result in results]
    link = context["ti"].log_url or ""
    slack.send("high" if failed else "info", headline, lines, link)
    if failed:
        names = ", ".join(f"{result['source']}: {result['problem']}" for result in failed)
        raise AirflowFailException(
            f"{headline}. {names}. What to do: open the red task of each, read its error, and clear it when the cause is "
            "gone; its later steps then run too."
        )
    return results


def _result(instance: Any, source: str, index: int) -> dict[str, Any]:
    found = {step: instance.xcom_pull(task_ids=f"{GROUP}.{step}", map_indexes=index) for step in _STEPS}
    taken = found["dump_compress_upload"] or {}
    wanted = [step for step in _STEPS if "offsite" not in step or _has_offsite(source)]
    missing = next((step for step in wanted if not found[step]), None)
    evidence = next(iter((found["verify"] or {}).values()), {})
    return {
        **taken,
        "source": source,
        "verified": evidence.get("depth"),
        "offsite": sorted(found["verify_offsite"] or {}),
        "problem": _STEPS[missing] if missing else None,
    }


def _has_offsite(source: str) -> bool:
    from backup_playbook.config import load_config

    return bool(load_config().source(source).offsite)


def _line(result: dict[str, Any]) -> str:
    if "backup_id" not in result:
        return f"*{result['source']}*: {result['problem']}."
    size = f"{human_bytes(result['content_bytes'])} stored as {human_bytes(result['stored_bytes'])}"
    facts = [
        f"{result['tables']} tables, {result['rows']:,} rows",
        f"{size} in {human_seconds(result['seconds'])}",
        f"verified ({result['verified']})" if result["verified"] else "",
        f"off-site in {', '.join(result['offsite'])}" if result["offsite"] else "",
        f"*{result['problem']}*" if result["problem"] else "",
    ]
    return f"*{result['source']}* `{result['backup_id']}`: {'; '.join(fact for fact in facts if fact)}."
