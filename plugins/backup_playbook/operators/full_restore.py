"""The steps that a full restore has beside those of a restore test and of a recovery.

On the way to staging or to a new database, the scratch stays under a name of its own; on the way to production, staging
comes first. What is asked for stands in the run's params.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import Context

from backup_playbook.core.errors import ConfigError, RestoreError
from backup_playbook.core.holdings import counted
from backup_playbook.core.markdown import cell, markdown_table
from backup_playbook.core.progress import human_seconds
from backup_playbook.dag_parts.approval import IN_SHORT, PLAN
from backup_playbook.operators.assessment import CHECKS
from backup_playbook.operators.documentation import Documented, DocumentResult
from backup_playbook.operators.recovery import PlanRecovery, Recovery, RecoveryStep, show_plan
from backup_playbook.operators.restore import RestoreStep, TestedBackup

if TYPE_CHECKING:
    from backup_playbook.config import PlaybookConfig
    from backup_playbook.core.model import Manifest, TableRecord
    from backup_playbook.core.restore_plan import RestorePlan
    from backup_playbook.core.restore_report import RestoreReport
    from backup_playbook.engines.contract import DatabaseEngine
    from backup_playbook.repository.objects import BackupReader

TARGETS = ("new_database", "staging", "production")
REMEDY = "open the red task, correct what its error names, and clear it. Nothing live was touched."
TESTED_ON = "of the restore test"
"""For `server` in the form: that of the source's restore test."""
TO_PRODUCTION = (
    "present_plan", "approve_plan", "create_scratch", "restore", "prove", "run_application_checks",
    "switch_maintenance_on", "promote_copy", "switch_maintenance_off",
)  # fmt: skip
_OUTSIDE = ("choose_backup", "plan_restore", "branch_on_target")
"""What is in no group; the other steps before production are in the group `staging`."""


class Planned(Recovery):
    """kept: the name under which the copy stays; empty on the way to production, whose fields others do not have.

    tables: whose rows are restored. left_out: in words.
    """

    kept: str
    tables: list[str]
    left_out: list[str]


@dataclass(frozen=True)
class Scope:
    """What a restore brings. only: as it was asked for; empty: everything. left_out: in words."""

    tables: Sequence[TableRecord]
    content_bytes: int
    left_out: Sequence[str]
    only: Sequence[str] = ()


class PlanRestore(PlanRecovery):
    """Refuse what makes no sense or has no room; write down what will happen. Returns a `Planned`."""

    def execute(self, context: Context) -> Planned:
        from backup_playbook.core.promotion import restored_name
        from backup_playbook.dag_parts.restore_targets import tested_on

        form, now = context["params"], datetime.now(UTC)
        self._require_sense(form)
        target = form["server"]
        if form["target"] != "new_database" or target == TESTED_ON:
            target = tested_on(self.config, self.source)
        with self.reader() as reader:
            manifest, scope = reader.manifest, self.scope(reader, form)
        name = form["database"] or restored_name(self.database(manifest), now)
        name = "" if form["target"] == "production" else name
        server, free = self.look_at_target(target, name, scope)
        if name:
            planned = Recovery(
                **self.tested, live="", live_oid=0, quarantine="", planned_at="", candidate_oid=0, exchange=None
            )
            show_plan(context, self._plan(manifest, scope, name, f"{server} ({target})", free))
        else:
            planned = super().execute(context)
            self.log.info("Before that, it is restored, proven and checked on %s; that copy is dropped.", target)
        extra = {"target": target, "only": list(scope.only), "kept": name, "left_out": list(scope.left_out)}
        extra["leave_out"] = list(form.get("leave_out") or [])
        tables = sorted(f"{table.namespace}.{table.name}" for table in scope.tables)
        return cast("Planned", {**planned, **extra, "tables": tables})

    def scope(self, reader: BackupReader, form: Any) -> Scope:
        from backup_playbook.engines.postgres.partial import read_part

        manifest = reader.manifest
        part = read_part(reader, form["only"], form.get("leave_out") or ())
        tables = [table for table in manifest.tables if part.has_rows_of(table)]
        return Scope(tables, part.content_bytes(manifest), part.left_out, part.only)

    def database(self, manifest: Manifest) -> str:
        return str(manifest.details["database"]["datname"])

    def look_at_target(self, target: str, name: str, scope: Scope) -> tuple[str, int | None]:
        """The server, for people, and its free bytes, if they can be found out. name: empty if it gets none.

        Raises RestoreError when there is no room, or when the name does not fit or is taken.
        """
        from backup_playbook.dag_parts.restore_targets import scratch_database
        from backup_playbook.engines.postgres.kept import require_fitting_name, require_new
        from backup_playbook.engines.postgres.recovery_preflight import require_room

        server = scratch_database(self.config, self.source, "", target=target).host.server
        if name:
            require_fitting_name(name)
            require_new(server, name)
        with server.connect(autocommit=True) as connection:
            return server.label, require_room(connection, scope.content_bytes, f"The server {target}")

    def _require_sense(self, form: Any) -> None:
        from backup_playbook.dag_parts.recovery import recovery_settings

        if form["target"] == "production":
            recovery_settings(self.config, self.source)
            if form.get("only"):
                raise RestoreError(
                    f"Only {', '.join(form['only'])} in the place of production: the rest of it would be lost.",
                    "Nothing was done. Restore that part into a new database, and copy from there what you need; for "
                    "some rows there is recover_deleted_rows.",
                )
        if form["target"] != "new_database" and form["database"]:
            raise RestoreError(
                f"The target {form['target']} takes no name, and {form['database']!r} was given.",
                "Nothing was done. Choose the target new_database, or leave the name empty.",
            )
        if form["target"] == "new_database" and form["server"] not in (TESTED_ON, *self.config.targets):
            raise ConfigError(
                f"targets.yaml has no server {form['server']!r}.", f"Choose one of: {', '.join(self.config.targets)}."
            )

    def _plan(self, manifest: Manifest, scope: Scope, name: str, server: str, free: int | None) -> RestorePlan:
        from backup_playbook.core.restore_plan import RestorePlan
        from backup_playbook.dag_parts import connections
        from backup_playbook.dag_parts.recovery_planning import known_of, look_up

        repository, size = self.tested["repository"], scope.content_bytes
        _, entries, rate = look_up(self.config, self.source, repository)
        return RestorePlan(
            words=connections.engine(self.config, self.source).words,
            backup_id=manifest.backup_id,
            repository=repository,
            taken_at=manifest.snapshot_at,
            known=known_of(entries, manifest.backup_id),
            database=name,
            server=server,
            only=scope.only,
            tables=len(scope.tables),
            rows=sum(table.rows for table in scope.tables),
            content_bytes=size,
            left_out=scope.left_out,
            free=free,
            undo=undo_statement(self.config, self.source, name),
            estimate=timedelta(seconds=size / rate) if rate else None,
            rto=self.config.objectives_of(self.source).rto,
            remark=self.tested["remark"],
        )


def undo_statement(config: PlaybookConfig, source: str, name: str) -> str:
    """Statement that drops a copy which was kept under this name."""
    from backup_playbook.dag_parts import connections

    return cast("DatabaseEngine", connections.engine(config, source)).undo_kept(name)


class KeepCopy(RestoreStep):
    """Give the proven copy its name: it is no scratch any more. Can be repeated."""

    def execute(self, context: Context) -> str:  # noqa: ARG002 - passed by name
        copy = cast("Planned", self.tested)
        self.require_proof()
        self.postgres_scratch().keep(copy["kept"])
        return copy["kept"]


class PresentPlan(RecoveryStep):
    """Put together, for the person who approves it: the plan, and what staging has shown."""

    def execute(self, context: Context) -> Recovery:
        instance, now = context["ti"], datetime.now(UTC)
        staged = instance.xcom_pull("staging.prove")
        checks = instance.xcom_pull("staging.run_application_checks", key=CHECKS) or []
        took = human_seconds(sum(staged["phases"].values()))
        plan = instance.xcom_pull("plan_restore", key=PLAN)
        proof = staged["proof"]
        equal = f"{counted(proof['tables'], 'table')}, {counted(proof['schema_objects'], 'definition')}"
        beside = [
            f"**{title}:** {cell('; '.join(proof[key]))}.\n"
            for title, key in (("Not in the copy", "left_out"), ("Computed anew, not compared", "recomputed"))
            if proof.get(key)
        ]
        passed = [(one["name"], "ok", one["detail"]) for one in checks]
        lines = [
            plan,
            f"**What staging has shown:** restored and proven equal on {cell(staged['target'])} in {took}: {equal}.\n",
            *beside,
            *markdown_table("Application checks on staging", ("check", "result", "detail"), passed),
        ]
        self.log.info("%s", "\n".join(lines))
        instance.xcom_push(PLAN, "\n".join(lines))
        instance.xcom_push(IN_SHORT, f"{instance.xcom_pull('plan_restore', key=IN_SHORT)} Proven on staging in {took}.")
        phases = {f"staging, {name}": seconds for name, seconds in staged["phases"].items()}
        return cast("Recovery", {**self.recovery, "planned_at": now.isoformat(), "phases": phases})


class DocumentRestore(DocumentResult):
    """The report of a restore, or, when production was to be touched, that of the recovery; tells people."""

    steps = (*_OUTSIDE[:2], "create_scratch", "restore", "prove", "run_application_checks", *_OUTSIDE[2:], "keep_copy")
    good = ("success", "skipped")
    report_name = "restore"

    def execute(self, context: Context) -> Documented:
        from backup_playbook.dag_parts.recovery_ending import conclude_recovery

        self._instance = context["ti"]
        if context["params"]["target"] == "production" and not self._failed_step():
            return cast("Documented", conclude_recovery(context["ti"], TO_PRODUCTION))
        return super().execute(context)

    def announce(self, documented: Documented) -> None:
        from backup_playbook.notifiers.message import Message
        from backup_playbook.notifiers.runs import run_url, tell

        kept, passed = self._planned.get("kept"), documented["passed"]
        where = f" as {kept} on {self._planned['target']}" if kept else ""
        lines = [documented["in_short"]]
        lines += [f"Left out: {'; '.join(self._planned['left_out'])}."] if self._planned.get("only") else []
        lines += [f"To undo: `{undo_statement(self.config, self.source, kept)}`"] if kept and passed else []
        lines += [*documented["remarks"], *([f"Report: {documented['report']}"] if documented["report"] else [])]
        message = Message(
            severity="info" if passed else "high",
            headline=f"{self.source} was restored{where}" if passed else f"Restore of {self.source}{where} failed",
            lines=tuple(lines),
            remedy="" if passed else REMEDY,
            link=run_url(self._instance.dag_id, self._instance.run_id),
        )
        tell(self._instance, message)

    @property
    def _planned(self) -> Any:
        return self._said("plan_restore") or {}

    def _report(self, chosen: TestedBackup, failed: str, problem: str) -> RestoreReport:
        report, planned = super()._report(chosen, failed, problem), self._planned
        proven = tuple(one for one in report.proven if one.table in planned["tables"])
        update = {
            "title": "Restore",
            "target": f"{planned.get('kept') or 'a scratch'} on {planned.get('target') or 'no server yet'}",
            "kept": (kept := "" if failed else planned["kept"]),
            "undo": undo_statement(self.config, self.source, kept) if kept else "",
            "left_out": report.left_out or tuple(planned.get("left_out", ())),
            "proven": proven,
            "content_bytes": sum(one.bytes for one in proven) if planned.get("only") else report.content_bytes,
        }
        return report.model_copy(update=update)

    def _add_evidence(self, chosen: TestedBackup, report: RestoreReport, address: str) -> list[str]:
        if report.passed and self._planned["only"]:  # a part that is proven says nothing of the rest
            return []
        return super()._add_evidence(chosen, report, address)

    def _path(self, step: str) -> str:
        return step if step in _OUTSIDE else f"staging.{step}"
