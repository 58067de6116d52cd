"""The end of a restore test: its report and its evidence, whatever became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict

from airflow.sdk import Context, XComArg
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.core.comparison import TableComparison
from backup_playbook.core.holdings import data_bytes
from backup_playbook.core.restore_report import CheckResult, ProvenTable, RestoreReport
from backup_playbook.notifiers.runs import ERROR, KILLED, run_url, task_states
from backup_playbook.operators.assessment import CHECKS, COMPARISON
from backup_playbook.operators.base import SourceOperator
from backup_playbook.operators.restore import DAMAGED, TestedBackup

STEPS = ("choose_backup", "create_scratch", "restore", "prove", "compare_with_production", "run_application_checks")
CARRIERS = ("prove", "restore", "create_scratch")
"""The steps that add to what goes from step to step, the last one first."""
DOCUMENTED = "documented"
"""XCom of `document_result`, also when the test failed: a `Documented`."""


class Documented(TypedDict):
    """What people are told of a test. `report`: address of the Markdown; empty when there is none."""

    source: str
    passed: bool
    in_short: str
    remarks: list[str]
    report: str


class DocumentResult(SourceOperator):
    """Write the report into a repository of the source, and evidence beside the backup: that it was restored and
    proven, or that it is damaged. Fails when a step of the test did.

    tested: what the step `choose_backup` returned; None when it failed.
    """

    template_fields: Sequence[str] = ("source", "tested")
    steps: Sequence[str] = STEPS
    good: Sequence[str] = ("success",)
    """States of a step that has not failed."""
    report_name = "restore-test"

    def __init__(self, *, source: str, tested: XComArg, **arguments: Any) -> None:
        super().__init__(source=source, **arguments)
        self.tested = tested

    def execute(self, context: Context) -> Documented:
        self._instance = context["ti"]
        failed = self._failed_step()
        problem = str(self._said(failed, ERROR) or KILLED) if failed else ""
        chosen: TestedBackup | None = self.tested
        documented = self._document(chosen, failed, problem) if chosen else self._nothing_chosen(problem)
        self._instance.xcom_push(DOCUMENTED, documented)
        self.announce(documented)
        if failed:
            where = f" The report: {documented['report']}." if documented["report"] else ""
            raise AirflowFailException(f"{documented['in_short']}{where}")
        return documented

    def announce(self, documented: Documented) -> None:
        """Of many tests, people are told at once."""

    def _document(self, chosen: TestedBackup, failed: str, problem: str) -> Documented:
        from backup_playbook.dag_parts.repositories import keep_report

        report = self._report(chosen, failed, problem)
        name = f"{self.report_name}-{report.finished_at:%Y%m%dT%H%M%SZ}"
        address, lost = keep_report(
            self.config, self.source, report.repository, name, report.to_json(), report.to_markdown()
        )
        missing = [*([lost] if lost else []), *self._add_evidence(chosen, report, address)]
        return Documented(
            source=self.source,
            passed=report.passed,
            in_short=report.in_short(),
            remarks=[*report.remarks, *missing],
            report=address,
        )

    def _add_evidence(self, chosen: TestedBackup, report: RestoreReport, address: str) -> list[str]:
        """Returns what could not be written. A test that could not be made says nothing of the backup."""
        from backup_playbook.dag_parts.repositories import add_finding, add_proof

        backup_id, repository = report.backup_id, report.repository
        if report.passed:
            body = {
                "report": address,
                "seconds": {"restore": report.restore_seconds, "prove": report.phases.get("prove", 0.0)},
                "rto_seconds": report.rto.total_seconds(),
                "content_bytes": report.content_bytes,
                "target": report.target,
            }
            return add_proof(self.config, self.source, backup_id, repository, chosen["origin"], body)
        if found := next(filter(None, (self._said(step, DAMAGED) for step in CARRIERS)), None):
            return add_finding(self.config, self.source, backup_id, repository, found, report.problem)
        return []

    def _report(self, chosen: TestedBackup, failed: str, problem: str) -> RestoreReport:
        from backup_playbook.dag_parts import connections
        from backup_playbook.dag_parts.repositories import find_manifest

        manifest = find_manifest(self.config, self.source, chosen["repository"], chosen["backup_id"])
        known: TestedBackup = next((said for step in CARRIERS if (said := self._said(step))), chosen)
        tables = [
            ProvenTable(table=f"{table.namespace}.{table.name}", rows=table.rows, bytes=table.bytes)
            for table in (manifest.tables if manifest and known["proof"] else ())
        ]
        settings = self.config.source(self.source)
        target = settings.restore_test.target if settings.restore_test else "no target"
        return RestoreReport(
            source=self.source,
            engine=settings.engine,
            words=connections.engine(self.config, self.source).words,
            backup_id=chosen["backup_id"],
            taken_at=datetime.fromisoformat(chosen["taken_at"]),
            repository=chosen["repository"],
            target=f"{known['scratch'] or 'no scratch'} on {target}{_owners(known)}",
            run_id=self._instance.run_id,
            run_url=run_url(self._instance.dag_id, self._instance.run_id),
            started_at=datetime.fromisoformat(chosen["started_at"]),
            finished_at=datetime.now(UTC),
            failed_step=failed,
            problem=problem,
            phases=known["phases"],
            rto_objective=self.config.objectives_of(self.source).rto,
            content_bytes=data_bytes(manifest) if manifest else 0,
            proven=tuple(tables),
            comparison=tuple(
                TableComparison(**item) for item in self._said("compare_with_production", COMPARISON) or ()
            ),
            checks=tuple(CheckResult(**item) for item in self._said("run_application_checks", CHECKS) or ()),
            chosen=chosen["remark"],
            left_out=tuple(known["proof"].get("left_out", ())),
            recomputed=tuple(known["proof"].get("recomputed", ())),
        )

    def _nothing_chosen(self, problem: str) -> Documented:
        in_short = f"There is no backup of {self.source} to restore: {problem}"
        return Documented(source=self.source, passed=False, in_short=in_short, remarks=[], report="")

    def _failed_step(self) -> str:
        """The first step that did not succeed; empty when all did."""
        states = task_states(self._instance)
        mapped = f"_{self._instance.map_index}" if self._instance.map_index >= 0 else ""
        ended = {step: states.get(f"{self._path(step)}{mapped}") for step in self.steps}
        return next((step for step, state in ended.items() if state not in self.good), "")

    def _said(self, step: str, key: str = "return_value") -> Any:
        return self._instance.xcom_pull(self._path(step), key=key, map_indexes=self._instance.map_index)

    def _path(self, step: str) -> str:
        group, _, _ = self._instance.task_id.rpartition(".")
        return f"{group}.{step}" if group else step


def _owners(known: TestedBackup) -> str:
    if known.get("owners"):
        return ", with owners and grants"
    return f", without owners and grants: {lack}" if (lack := known.get("owners_lack")) else ""
