"""The endings of a restore test and of a restore beside production: report, evidence, message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.core.markdown import cell, code
from backup_playbook.core.progress import human_bytes, human_seconds
from backup_playbook.core.report import Report, Table
from backup_playbook.core.words import counted
from backup_playbook.notifiers.runs import run_url
from backup_playbook.operators.base import SourceOperator
from backup_playbook.operators.handoffs import Restoring
from backup_playbook.operators.recovery_report import not_covered, recovery_evidence, recovery_report
from backup_playbook.operators.report import DONE, Ended, ended, finish, steps_of


class DocumentRestoreTest(SourceOperator):
    """Write the report of a restore test, and evidence beside the backup: it was restored and proven, or it is damaged.

    Fails when a step of the test did.

    :param steps: the steps of the test, in their order.
    """

    kind = "restore-test"
    title = "Restore test"
    good: Sequence[str] = ("success",)
    remedy = ""
    announces = False
    """Of many tests, people are told at once."""

    def __init__(self, *, steps: Sequence[BaseOperator], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.steps = steps_of(steps)

    def execute(self, context: Context) -> dict[str, Any]:
        """Write down what became of the run."""
        end = ended(context, self.steps, good=self.good)
        if end.handoff is None:
            return self._nothing_chosen(context, end)
        known = Restoring.read(end.handoff)
        report = self.report(context, known, end)

        def write_evidence(address: str) -> list[str]:
            return recovery_evidence(self.access, known, end, report, address)

        return finish(
            context, report, self.access, write_evidence=write_evidence, remedy=self.remedy if end.failed else "",
            announce=self.announces,
        )  # fmt: skip

    def report(self, context: Context, known: Restoring, end: Ended) -> Report:
        """Build the report."""
        return restore_report(self, context, known, end)

    def _nothing_chosen(self, context: Context, end: Ended) -> dict[str, Any]:
        in_short = f"There is no backup of {self.source} to restore: {end.problem}"
        context["ti"].xcom_push(
            DONE, {"source": self.source, "passed": False, "in_short": in_short, "remarks": [], "report": ""}
        )
        raise AirflowFailException(in_short)


class DocumentRestore(DocumentRestoreTest):
    """Write the report of a restore, or, when production was to be replaced, that of the recovery; tell people."""

    kind = "restore"
    title = "Restore"
    good = ("success", "skipped")
    remedy = "open the red task, correct what its error names, and clear it. Nothing live was touched."
    announces = True

    def report(self, context: Context, known: Restoring, end: Ended) -> Report:
        """Build the report."""
        if known.replacing:
            return recovery_report(self, context, known, end)
        return restore_report(self, context, known, end)


def restore_report(step: DocumentRestoreTest, context: Context, known: Restoring, end: Ended) -> Report:
    """Return the report of a copy that was restored, or failed to be."""
    access, instance, finished = step.access, context["ti"], datetime.now(UTC)
    took, objective = finished - known.started_at, access.config.objectives_of(step.source).rto
    met = "within" if took <= objective else "*over*"
    manifest = access.backups.manifest(known.repository, known.backup_id) if known.proof else None
    proven = [
        (f"{table.namespace}.{table.name}", table.rows, table.bytes)
        for table in (manifest.tables if manifest else ())
        if not known.tables or f"{table.namespace}.{table.name}" in known.tables
    ]
    amount = access.engine.words.amount(len(proven), sum(rows for _, rows, _ in proven))
    size = human_bytes(sum(size for *_, size in proven) if known.only else manifest.content_bytes) if manifest else ""
    checks = end.facts.get("checks") or []
    comparison = end.facts.get("comparison") or []
    seconds, rto = human_seconds(took.total_seconds()), human_seconds(objective.total_seconds())
    beside = not_covered(known)
    stays = known.kept if known.kept and not end.failed else ""
    undo = access.database_engine.undo_kept(stays) if stays else ""
    passed = f"{counted(len(checks), 'application check')} passed; " if checks else ""
    uncovered = "".join(f" {title}: {', '.join(what)}." for title, what in beside.items())
    in_short = (
        f"`{end.failed}` failed for {known.backup_id} from {known.repository}. {end.problem}"
        if end.failed
        else f"{known.backup_id} from {known.repository}: {amount}, {size} equal byte for byte; "
        f"{passed}took {seconds}, {met} the RTO of {rto}.{uncovered}"
    )
    verdict = f"FAILED at {end.failed}" if end.failed else "restored and proven equal"
    target = known.target or (access.settings.restore_test.target if access.settings.restore_test else "no target")
    owners = ", with owners and grants" if known.owners else ""
    owners = f", without owners and grants: {known.owners_lack}" if known.owners_lack else owners
    facts = {
        "restored into": cell(f"{known.kept or known.scratch or 'no scratch'} on {target}{owners}"),
        "took": f"{seconds}, {met} the objective (RTO) of {rto}",
        **({"proven byte for byte": f"{amount}, {size}"} if proven else {}),
        **{title.lower(): cell("; ".join(what)) for title, what in beside.items()},
        **({"stays as": code(stays)} if stays else {}),
    }
    return Report(
        kind=step.kind,
        source=step.source,
        headline=f"{step.title} of {step.source}: {verdict}",
        in_short=in_short,
        failed_step=end.failed,
        problem=end.problem,
        backup_id=known.backup_id,
        taken_at=known.taken_at,
        repository=known.repository,
        run_id=instance.run_id,
        run_url=run_url(instance.dag_id, instance.run_id),
        started_at=known.started_at,
        finished_at=finished,
        phases=known.phases,
        took=took,
        rto_objective=objective,
        facts=facts,
        tables=tuple(filter(lambda table: table.rows, (_checks(checks), _comparison(comparison), _proof(proven)))),
        remarks=(
            *(
                [f"It took longer than the RTO of {human_seconds(objective.total_seconds())}."]
                if took > objective
                else []
            ),
            *([known.remark] if known.remark else []),
            *(f"Compared with production: {one['table']} {one['remark']}." for one in comparison if one["remark"]),
        ),
        undo=code(undo) if undo else "",
        details={"handoff": known.as_json(), "checks": checks, "comparison": comparison},
    )


def _checks(checks: Sequence[dict[str, Any]]) -> Table:
    rows = tuple((one["name"], "ok" if one["ok"] else "FAILED", one["detail"]) for one in checks)
    return Table(title="Application checks", head=("check", "result", "detail"), rows=rows)


def _comparison(comparison: Sequence[dict[str, Any]]) -> Table:
    rows = tuple((one["table"], _count(one["then"]), _count(one["now"]), one["remark"]) for one in comparison)
    head = ("table", "in the backup", "in production", "remark")
    return Table(title="Rows then and now", head=head, rows=rows)


def _proof(proven: Sequence[tuple[str, int, int]]) -> Table:
    rows = tuple((name, f"{rows:,}", f"{size:,}", "equal") for name, rows, size in proven)
    return Table(title="Proof", head=("table", "rows", "bytes", "digest"), rows=rows)


def _count(rows: int | None) -> str:
    return "-" if rows is None else f"{rows:,}"
