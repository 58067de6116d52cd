"""The steps of a repair: what is damaged in one repository is brought back from another one, and read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from backup_playbook.core.errors import RepositoryError
from backup_playbook.forms.repair import NEWEST_REJECTED
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import run_url, tell
from backup_playbook.operators.base import HandoffOperator, SourceOperator
from backup_playbook.operators.handoffs import Damaged

if TYPE_CHECKING:
    from backup_playbook.repository.catalog import Catalog


class FindDamage(SourceOperator):
    """Compare a backup with its sound copy; change nothing. Returns a `Damaged`.

    :param backup: an id, or NEWEST_REJECTED.
    :param where: one of forms.repair.WHERE.
    """

    template_fields: Sequence[str] = ("source", "backup", "where")

    def __init__(self, *, backup: str, where: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.backup = backup
        self.where = where

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - passed by name
        """Find what is damaged."""
        from backup_playbook.connections.repairs import find_repair
        from backup_playbook.core.details import shares_contents
        from backup_playbook.engines.repair import find_damage, require_same

        found = find_repair(self.access.backups, "" if self.backup == NEWEST_REJECTED else self.backup, self.where)
        manifest = found.sound.manifest(self.source, found.backup_id)
        names: list[str] = []
        if shared := shares_contents(manifest):
            require_same(found.damaged, found.entry, manifest)
        else:
            streams = self.access.settings.streams
            names = find_damage(found.damaged, found.entry, manifest, streams, self.cancellation).names()
        self.log.info(
            "%s in %s, from %s: %s", found.backup_id, found.damaged.store.url, found.sound.store.url,
            "; ".join(names) or "everything is sent anew",
        )  # fmt: skip
        return Damaged(
            source=self.source,
            backup_id=found.backup_id,
            damaged=found.damaged.store.name,
            sound=found.sound.store.name,
            seal=manifest.origin_seal,
            names=tuple(names),
            shared=shared,
        ).as_json()


class CopySound(HandoffOperator[Damaged]):
    """Replace what is damaged; each object is compared with the manifest as it passes. Can be repeated."""

    model = Damaged

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - passed by name
        """Bring back what is damaged; return the hand-off as it is."""
        known = self.handoff
        target, origin = self.access.catalog(known.damaged), self.access.catalog(known.sound)
        if known.shared:
            manifest = origin.manifest(self.source, known.backup_id)
            self.access.copy(origin, target, manifest, self.cancellation, anew=True)
        else:
            self._copy_objects(origin, target)
        return known.as_json()

    def _copy_objects(self, origin: Catalog, target: Catalog) -> None:
        from backup_playbook.connections.s3 import same_endpoint
        from backup_playbook.engines.repair import find_damage, repair

        streams, known = self.access.settings.streams, self.handoff
        manifest = origin.manifest(self.source, known.backup_id)
        entry = next((one for one in target.backups(self.source) if one.backup_id == known.backup_id), None)
        # read again, and not taken from the step before: what an earlier try has repaired must not be written over
        damage = find_damage(target, entry, manifest, streams, self.cancellation)
        repair(
            origin,
            target,
            manifest,
            damage,
            self.access.engine.restore_script(manifest, target.store.url),
            same_endpoint=same_endpoint(self.config, known.sound, known.damaged),
            streams=streams,
            cancellation=self.cancellation,
        )


class VerifyRepaired(HandoffOperator[Damaged]):
    """Read the whole backup in the repaired repository again, write the evidence, and tell people."""

    model = Damaged

    def execute(self, context: Context) -> dict[str, Any]:
        """Verify the repaired backup; return the hand-off as it is."""
        from backup_playbook.engines.backup import Depth, Verification

        known, access = self.handoff, self.access
        target = access.catalog(known.damaged)
        with access.codec(self.cancellation, decrypt=True) as codec:
            depth = Depth.FULL if codec.can_decode else Depth.STORED
            replaced = known.shared or bool(known.names)
            verification = Verification(target, access.engine, codec, depth, access.settings.streams, replaced)
            verification.run(self.source, known.backup_id, self.cancellation, known.seal)
        if target.entry(self.source, known.backup_id).rejected:
            raise RepositoryError(
                f"Nothing that is stored of {self.source} {known.backup_id} in {known.damaged} was damaged, but "
                "its content was found to be, and this worker has no key to read it again.",
                "Run daily_backup_verification on a worker that has the key, or use another backup.",
            )
        what = "; ".join(known.names) or "all of it"
        message = Message(
            severity="info",
            headline=f"{self.source}: {known.backup_id} in {known.damaged} is repaired",
            lines=(f"Brought back from {known.sound}, and read again: {what}.",),
            link=run_url(context["ti"].dag_id, context["ti"].run_id),
        )
        tell(context["ti"], message)
        return known.as_json()
