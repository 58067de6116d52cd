"""The steps of a recovery of deleted documents. What is asked for stands in the run's params."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from backup_playbook.core.markdown import cell
from backup_playbook.core.row_recovery import Preview
from backup_playbook.operators.production import ChangesProduction
from backup_playbook.operators.restore import ChooseBackup, RestoreStep, TestedBackup, begin_anew
from backup_playbook.operators.rows import PREVIEW, keep_undo, leave_plan, require_none_missing

if TYPE_CHECKING:
    from backup_playbook.engines.mongodb.connection import MongoServer
    from backup_playbook.engines.mongodb.document_search import WantedDocuments


def _wanted(form: Any) -> WantedDocuments:
    from backup_playbook.engines.mongodb.document_search import wanted_documents

    return wanted_documents(form["collection"], form["ids"] or [], form["query"] or "")


class ChooseDocumentsBackup(ChooseBackup):
    """Ask production first whether there can be such documents."""

    def execute(self, context: Context) -> TestedBackup:
        from backup_playbook.dag_parts.recovery import live_mongo
        from backup_playbook.engines.mongodb.document_search import require_collection

        require_collection(live_mongo(self.config, self.source), _wanted(context["params"]).collection)
        return super().execute(context)


class _DocumentsStep(RestoreStep):
    @property
    def live(self) -> MongoServer:
        """Production, as the user who may write to it."""
        from backup_playbook.dag_parts.recovery import live_mongo

        return live_mongo(self.config, self.source)


class FindDocuments(_DocumentsStep):
    """Load into the scratch what can be meant, and compare it with production. Leaves the plan for the approval.

    Fails when conflicts remain that `on_conflict` does not solve.
    """

    def execute(self, context: Context) -> TestedBackup:
        from backup_playbook.engines.mongodb.document_import import preview_documents
        from backup_playbook.engines.mongodb.document_search import load_documents

        wanted, scratch = _wanted(context["params"]), self.mongo_scratch()
        with self.noticing_damage(context), self.reader() as reader:
            begin_anew(context, scratch, reader.manifest)
            phases = load_documents(scratch, reader, wanted, self.cancellation)
            taken_at = reader.manifest.snapshot_at
        how = (
            "They are written one by one, each only where production is as shown here; what takes them back is stored "
            "in the repository before the first. Documents that are equal are not touched."
        )
        preview = preview_documents(self.live, scratch, wanted)
        leave_plan(context, self.tested, preview, f"Documents of **{cell(wanted.collection)}**", taken_at, how)
        return {**self.tested, "phases": {f"find: {name}": seconds for name, seconds in phases.items()}}


class ImportDocuments(ChangesProduction, _DocumentsStep):
    """Write what was approved; what undoes it is stored before."""

    template_fields: Sequence[str] = ("backup", "approval")

    def execute(self, context: Context) -> dict[str, Any]:
        from backup_playbook.engines.mongodb.document_import import import_documents

        recovered = import_documents(
            self.live,
            self.mongo_scratch(),
            _wanted(context["params"]),
            Preview.model_validate(context["ti"].xcom_pull("find_documents", key=PREVIEW)),
            context["params"]["on_conflict"],
            keep_undo=partial(keep_undo, self, "documents-{}-undo.json"),
        )
        self.log.info(
            "Inserted %s, overwritten %s; undo: %s", recovered.inserted, recovered.overwritten, recovered.undo
        )
        return recovered.model_dump(mode="json")


class VerifyDocuments(_DocumentsStep):
    """Look at production again, in a session of its own: nothing may be missing that was to come back."""

    def execute(self, context: Context) -> dict[str, int]:
        from backup_playbook.engines.mongodb.document_import import remaining_documents

        wanted = _wanted(context["params"])
        found = remaining_documents(self.live, self.mongo_scratch(), wanted)
        self.log.info("Documents of the backup in production now: %s", found)
        require_none_missing({wanted.collection: found.get("missing", 0)})
        return dict(found.items())
