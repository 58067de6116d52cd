"""The steps of a repair: what is damaged in one repository is brought back from another one, and read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict, cast

from airflow.sdk import Context, XComArg

from backup_playbook.core.errors import RepositoryError
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import run_url, tell
from backup_playbook.operators.base import PlaybookOperator, SourceOperator

if TYPE_CHECKING:
    from backup_playbook.repository.catalog import Catalog


NEWEST_REJECTED = "newest_rejected"
WHERE = ("any", "primary", "offsite")


class Damaged(TypedDict):
    """What goes from step to step. damaged, sound: repositories. names: of what is damaged; empty where contents are
    shared, which are then all sent anew. seal: of the sound copy."""

    source: str
    backup_id: str
    damaged: str
    sound: str
    seal: str
    names: list[str]


class FindDamage(SourceOperator):
    """Compare a backup with its sound copy; changes nothing. backup: an id, or NEWEST_REJECTED. where: one of WHERE.

    Returns a `Damaged`.
    """

    template_fields: Sequence[str] = ("source", "backup", "where")

    def __init__(self, *, source: str, backup: str, where: str, **arguments: object) -> None:
        super().__init__(source=source, **arguments)
        self.backup = backup
        self.where = where

    def execute(self, context: Context) -> Damaged:  # noqa: ARG002 - passed by name
        from backup_playbook.core.holdings import shares_contents
        from backup_playbook.dag_parts.repairs import find_repair
        from backup_playbook.engines.repair import find_damage, require_same

        wanted = "" if self.backup == NEWEST_REJECTED else self.backup
        found = find_repair(self.config, self.source, wanted, self.where)
        manifest = found.sound.manifest(self.source, found.backup_id)
        names: list[str] = []
        if shares_contents(manifest):
            require_same(found.damaged, found.entry, manifest)
        else:
            streams = self.config.source(self.source).streams
            damage = find_damage(found.damaged, found.entry, manifest, streams, self.cancellation)
            names = damage.names()
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
            names=names,
        )


class RepairStep(PlaybookOperator):
    """A step on what was found. Returns it."""

    template_fields: Sequence[str] = ("found",)

    def __init__(self, *, found: XComArg, **arguments: object) -> None:
        super().__init__(**arguments)
        self.found = found

    @property
    def known(self) -> Damaged:
        """An XComArg until the fields of a running task are rendered."""
        return cast("Damaged", self.found)

    @property
    def source(self) -> str:  # type: ignore[override]
        return self.known["source"]

    def catalogs(self) -> tuple[Catalog, Catalog]:
        """The damaged one and the sound one."""
        from backup_playbook.dag_parts import connections

        return (
            connections.catalog(self.config, self.known["damaged"]),
            connections.catalog(self.config, self.known["sound"]),
        )


class CopySound(RepairStep):
    """Replace what is damaged; each object is compared with the manifest as it passes. Can be repeated."""

    def execute(self, context: Context) -> Damaged:  # noqa: ARG002 - passed by name
        from backup_playbook.core.holdings import shares_contents

        target, origin = self.catalogs()
        manifest = origin.manifest(self.source, self.known["backup_id"])
        if shares_contents(manifest):
            from backup_playbook.dag_parts import connections
            from backup_playbook.engines.files.copies import copy_files
            from backup_playbook.repository.objects import BackupReader

            options = connections.files_options(connections.files_settings(self.config, self.source))
            with connections.codec(self.config, self.source, self.cancellation) as codec:
                reader = BackupReader(origin.store, manifest, codec)
                copy_files(reader, target, options, self.cancellation, anew=True)
            return self.known
        self._copy_objects(origin, target)
        return self.known

    def _copy_objects(self, origin: Catalog, target: Catalog) -> None:
        from backup_playbook.dag_parts import connections
        from backup_playbook.engines.repair import find_damage, repair

        streams, backup_id = self.config.source(self.source).streams, self.known["backup_id"]
        manifest = origin.manifest(self.source, backup_id)
        entry = next((one for one in target.backups(self.source) if one.backup_id == backup_id), None)
        # read again, and not taken from `find_damage`: what an earlier try has repaired must not be written over
        damage = find_damage(target, entry, manifest, streams, self.cancellation)
        repair(
            origin,
            target,
            manifest,
            damage,
            connections.engine(self.config, self.source).restore_script(manifest, target.store.url),
            same_endpoint=connections.same_endpoint(self.config, self.known["sound"], self.known["damaged"]),
            streams=streams,
            cancellation=self.cancellation,
        )


class VerifyRepaired(RepairStep):
    """Read the whole backup in the repaired repository again, write the evidence, and tell people."""

    def execute(self, context: Context) -> Damaged:
        from backup_playbook.dag_parts import connections
        from backup_playbook.engines.backup import Depth, Verification
        from backup_playbook.engines.contract import SharesContent

        target, _ = self.catalogs()
        known, settings = self.known, self.config.source(self.source)
        with connections.codec(self.config, self.source, self.cancellation, decrypt=True) as codec:
            depth = Depth.FULL if codec.can_decode else Depth.STORED
            engine = connections.engine(self.config, self.source)
            replaced = isinstance(engine, SharesContent) or bool(known["names"])
            verification = Verification(target, engine, codec, depth, settings.streams, replaced)
            verification.run(self.source, known["backup_id"], self.cancellation, known["seal"])
        if target.entry(self.source, known["backup_id"]).rejected:
            raise RepositoryError(
                f"Nothing that is stored of {self.source} {known['backup_id']} in {known['damaged']} was damaged, but "
                "its content was found to be, and this worker has no key to read it again.",
                "Run daily_backup_verification on a worker that has the key, or use another backup.",
            )
        what = "; ".join(known["names"]) or "all of it"
        message = Message(
            severity="info",
            headline=f"{self.source}: {known['backup_id']} in {known['damaged']} is repaired",
            lines=(f"Brought back from {known['sound']}, and read again: {what}.",),
            link=run_url(context["ti"].dag_id, context["ti"].run_id),
        )
        tell(context["ti"], message)
        return known
