"""What a full restore of MongoDB does in other ways than that of Postgres: its databases cannot be renamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import Context

from backup_playbook.operators.full_restore import Planned, PlanRestore, Scope
from backup_playbook.operators.restore import CreateScratch, DropScratch, RestoreStep

if TYPE_CHECKING:
    from backup_playbook.core.model import Manifest
    from backup_playbook.repository.objects import BackupReader


class PlanMongoRestore(PlanRestore):
    """The same of a MongoDB database."""

    def scope(self, reader: BackupReader, form: Any) -> Scope:  # noqa: ARG002 - Postgres restores parts
        from backup_playbook.engines.mongodb.archive import left_out

        return Scope(reader.manifest.tables, reader.manifest.content_bytes, left_out(reader.manifest))

    def database(self, manifest: Manifest) -> str:
        return str(manifest.details["database"])

    def look_at_target(self, target: str, name: str, scope: Scope) -> tuple[str, int | None]:
        from backup_playbook.dag_parts import connections
        from backup_playbook.engines.mongodb.kept import require_new, require_room

        server = connections.mongo_target(self.config, target)
        if name:
            require_new(server, name)
        return server.label, require_room(server, scope.content_bytes)


class CreateNamed(CreateScratch):
    """The scratch has the name that the copy will have, if it will be kept."""

    def new_name(self) -> str:
        return cast("Planned", self.tested)["kept"] or super().new_name()


class KeepMongoCopy(RestoreStep):
    """Take the mark off the proven copy: it is no scratch any more. Can be repeated."""

    def execute(self, context: Context) -> str:  # noqa: ARG002 - passed by name
        self.require_proof()
        self.mongo_scratch().keep(self.tested["scratch"])
        return self.tested["scratch"]


class DropUnlessKept(DropScratch):
    """Remove the scratch; what `keep_copy` has kept is none."""

    def execute(self, context: Context) -> None:
        if context["ti"].xcom_pull("staging.keep_copy"):
            self.log.info("%s stays.", self.tested["scratch"])
            return
        super().execute(context)
