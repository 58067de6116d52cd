"""The steps of a restore by its target: to a new database, to staging, or, after staging, to production."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.sdk import BaseOperator, Context, XComArg

from backup_playbook.core.errors import ConfigError, RestoreError
from backup_playbook.core.markdown import cell, markdown_table
from backup_playbook.core.progress import human_seconds
from backup_playbook.core.promotion import restored_name
from backup_playbook.core.words import counted
from backup_playbook.forms.restore import NEW_DATABASE, TESTED_ON, TO_PRODUCTION
from backup_playbook.operators.approval import APPROVE, IN_SHORT, PLAN, leave_plan
from backup_playbook.operators.base import text, texts
from backup_playbook.operators.handoffs import Restoring
from backup_playbook.operators.recovery import plan_recovery
from backup_playbook.operators.recovery_report import not_covered
from backup_playbook.operators.report import FACTS
from backup_playbook.operators.restore import RestoreStep


class PlanRestore(RestoreStep):
    """Refuse what makes no sense or has no room; write down what will happen.

    :param target: one of forms.restore.TARGETS.
    :param database: the name of the new database; empty: `<name>__restored_<time>`.
    :param server: of targets.yaml, or TESTED_ON.
    :param only: schemas and tables whose rows are restored; none: all.
    :param leave_out: definitions that the copy goes without.
    """

    template_fields: Sequence[str] = ("given", "target", "database", "server", "only", "leave_out")

    def __init__(
        self,
        *,
        target: str,
        database: str = "",
        server: str = TESTED_ON,
        only: Sequence[str] | str = (),
        leave_out: Sequence[str] | str = (),
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.target = target
        self.database = database
        self.server = server
        self.only = only
        self.leave_out = leave_out

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan the restore; return the hand-off with where it goes."""
        from backup_playbook.engines.contract import CopyOptions
        from backup_playbook.operators.planning import restore_plan

        now, database, only = datetime.now(UTC), text(self.database), texts(self.only)
        self._require_sense(database, only)
        target = self.server if self.target == NEW_DATABASE and self.server != TESTED_ON else ""
        target = target or self.access.restore_test_target()
        with self.reader() as reader:
            manifest = reader.manifest
            scope = self.access.database_engine.scope(reader, CopyOptions(only, texts(self.leave_out)))
        kept = database or restored_name(self.access.database_engine.database(manifest), now)
        kept = "" if self.target == TO_PRODUCTION else kept
        room = self.access.copy_server(target).require_room(kept, scope.content_bytes)
        known = self.handoff.model_copy(
            update={
                "target": target,
                "kept": kept,
                "only": tuple(scope.only),
                "leave_out": texts(self.leave_out),
                "tables": tuple(sorted(scope.tables)),
                "left_out": tuple(scope.left_out),
            }
        )
        if self.target == TO_PRODUCTION:
            self.log.info("Before that, it is restored, proven and checked on %s; that copy is dropped.", target)
            return plan_recovery(self, context, known)
        plan = restore_plan(self.access, known, manifest, scope, room)
        page = plan.to_markdown(now)
        self.log.info("%s", page)
        leave_plan(context, page, plan.in_short(now))
        return known.as_json()

    def _require_sense(self, database: str, only: Sequence[str]) -> None:
        if self.target == TO_PRODUCTION:
            self.access.live()
            if only:
                raise RestoreError(
                    f"Only {', '.join(only)} in place of production: the rest of it would be lost.",
                    "Nothing was done. Restore that part into a new database, and copy from there what you need; for "
                    "single rows or documents there are recover_deleted_rows and recover_deleted_documents.",
                )
        if self.target != NEW_DATABASE and database:
            raise RestoreError(
                f"The target {self.target} takes no name, and {database!r} was given.",
                f"Nothing was done. Choose the target {NEW_DATABASE}, or leave the name empty.",
            )
        if self.target == NEW_DATABASE and self.server not in (TESTED_ON, *self.config.targets):
            raise ConfigError(
                f"targets.yaml has no server {self.server!r}.", f"Choose one of: {', '.join(self.config.targets)}."
            )


class PresentPlan(RestoreStep):
    """Put together the plan and what staging has shown, for the person who approves.

    :param handoff: what was planned.
    :param planned: the step that has planned.
    :param staged: what the proof on staging returned.
    :param checked: the step that has run the application's checks on staging.
    """

    template_fields: Sequence[str] = ("given", "staged")

    def __init__(self, *, planned: BaseOperator, staged: XComArg, checked: BaseOperator, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.planned = planned.task_id
        self.staged: Any = staged
        self.checked = checked.task_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Leave the plan for the approval; return the hand-off."""
        instance, now = context["ti"], datetime.now(UTC)
        staged, known = Restoring.read(self.staged), self.handoff
        assert staged.proof
        assert known.replacing
        checks = (instance.xcom_pull(self.checked, key=FACTS) or {}).get("checks") or []
        took, table = human_seconds(sum(staged.phases.values())), self.access.engine.words.table
        equal = f"{counted(staged.proof.tables, table)}, {counted(staged.proof.schema_objects, 'definition')}"
        lines = [
            instance.xcom_pull(self.planned, key=PLAN),
            f"**What staging has shown:** restored and proven equal on {cell(staged.target)} in {took}: {equal}.\n",
            *(f"**{title}:** {cell('; '.join(what))}.\n" for title, what in not_covered(staged).items()),
            *markdown_table(
                "Application checks on staging",
                ("check", "result", "detail"),
                [(one["name"], "ok", one["detail"]) for one in checks],
            ),
        ]
        plan = "\n".join(lines)
        self.log.info("%s", plan)
        presented = known.model_copy(
            update={
                "phases": {f"staging, {name}": seconds for name, seconds in staged.phases.items()},
                "replacing": known.replacing.model_copy(update={"planned_at": now}),
            }
        ).as_json()
        in_short = f"{instance.xcom_pull(self.planned, key=IN_SHORT)} Proven on staging in {took}."
        leave_plan(context, plan, in_short, choices={APPROVE: presented})
        return presented


class BranchOnTarget(BaseBranchOperator):
    """Go on to production, or end with the copy on staging.

    :param target: one of forms.restore.TARGETS.
    :param production: the first step of the way to production.
    :param elsewhere: the first step of the other way.
    """

    template_fields: Sequence[str] = ("target",)

    def __init__(self, *, target: str, production: BaseOperator, elsewhere: BaseOperator, **arguments: Any) -> None:
        super().__init__(**{"retries": 0, **arguments})
        self.target = target
        self.production: str = production.task_id
        self.elsewhere: str = elsewhere.task_id

    def choose_branch(self, context: Context) -> str:  # noqa: ARG002 - passed by name
        """Return the task that the run goes on with."""
        return self.production if self.target == TO_PRODUCTION else self.elsewhere
