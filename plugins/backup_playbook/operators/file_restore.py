"""The steps of a restore of files. What is asked for stands in the run's params."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from backup_playbook.core.errors import ConfigError, RestoreError
from backup_playbook.operators.base import SourceOperator
from backup_playbook.operators.production import ChangesProduction
from backup_playbook.operators.restore import ChooseBackup, RestoreStep, TestedBackup

if TYPE_CHECKING:
    from pathlib import Path

    from backup_playbook.engines.files.restore import FilesRestore
    from backup_playbook.engines.files.scratch import ScratchDirectory
    from backup_playbook.engines.files.to_bucket import BucketRestore
    from backup_playbook.repository.objects import BackupReader
    from backup_playbook.repository.store import ObjectStore

NEW_DIRECTORY, IN_PLACE = "new_directory", "in_place"
RESULT = "result"
"""XCom of `restore` and of `prove`: what was counted, and `root`, where the files are."""
REMARKS = "remarks"
"""XCom of `prove`: sentences on what is not in the copy, and on what could not be written down."""
NAMED = 10


def wanted_path(form: Any) -> bytes:
    """b"" for everything: the form leaves null in an empty field."""
    return (form["path"] or "").encode()


def left_out(form: Any) -> Sequence[str]:
    """What a person can do without: paths that are lost everywhere, say."""
    return form.get("leave_out") or ()


class ChooseFilesBackup(ChooseBackup):
    """A version id stands for the newest backup that has the file in this version."""

    takes_damaged = True
    found_in = ""

    def execute(self, context: Context) -> TestedBackup:
        from backup_playbook.dag_parts.repositories import Repositories
        from backup_playbook.engines.files.history import backup_with

        form: Any = context["params"]
        if form["version"]:
            if not form["path"] or form["path"].endswith("/"):
                raise RestoreError("A version is of one file, and no file is named.", "Give its path with the version.")
            # each repository has versions of its own
            names = list(chain.from_iterable(self.order(datetime.now(UTC))))
            self.found_in, self.backup = Repositories(self.config).first(
                names, lambda catalog: backup_with(catalog, self.source, form["path"], form["version"])
            )
            self.before = ""
        return super().execute(context)

    def order(self, now: datetime) -> list[list[str]]:
        return [[self.found_in]] if self.found_in else super().order(now)


class FilesRestoreStep(RestoreStep):
    """A step that knows where the files go."""

    @contextmanager
    def restoring(self, context: Context, counts: Counter[str] | None = None) -> Iterator[FilesRestore]:
        """In place. counts: of what is done."""
        from backup_playbook.engines.files.place import Place
        from backup_playbook.engines.files.restore import FilesRestore

        form: Any = context["params"]
        root, aside = self.live_directory(), f".replaced-{self.tested['backup_id']}/".encode()
        with self.reader() as reader, Place(root, set_aside=aside) as place:
            yield FilesRestore(
                reader,
                place,
                self.cancellation,
                wanted_path(form),
                overwrite_newer=form["overwrite_newer"],
                files_at_once=self.config.source(self.source).streams,
                without=left_out(form),
                counts=Counter() if counts is None else counts,
            )

    def live_directory(self) -> Path:
        """Raises ConfigError for a source that is none."""
        from pathlib import Path

        from backup_playbook.dag_parts.connections import files_settings

        directory = files_settings(self.config, self.source).directory
        if directory is None:
            raise ConfigError(
                f"The source {self.source!r} is a bucket: its files cannot be restored in place.",
                "Restore them into a new directory, and copy them from there.",
            )
        try:
            there = Path(directory).is_dir()
        except PermissionError:
            there = False
        if not there:
            raise RestoreError(
                f"The directory {directory} of {self.source} is not there on {platform.node()}, or not to be seen.",
                "Mount it, or make it (empty) when it was deleted, and clear this task; or take a new directory.",
            )
        return Path(directory)

    def new_place(self, context: Context) -> ScratchDirectory | ObjectStore:
        """A directory, or a folder in a bucket, of this run. Raises ConfigError when the target is neither."""
        from pathlib import Path

        from backup_playbook.config import FilesSource, FilesTarget
        from backup_playbook.dag_parts.connections import other_bucket
        from backup_playbook.engines.files.scratch import ScratchDirectory

        form: Any = context["params"]
        target = self.config.target(form["target"])
        if not isinstance(target, FilesTarget):
            raise ConfigError(
                f"The target {form['target']!r} is no place for files.",
                "Name one whose engine is files in targets.yaml.",
            )
        started = datetime.fromisoformat(self.tested["started_at"])
        name = f"{self.source}_{self.tested['backup_id']}_{started:%H%M%S%f}"
        if target.bucket:
            return other_bucket(
                self.config, target.bucket, f"targets.yaml: targets.{form['target']}.bucket.connection", name
            )
        sources = [one.directory for one in self.config.sources.values() if isinstance(one, FilesSource)]
        return ScratchDirectory(
            Path(target.directory or "/nowhere"),
            name,
            [Path(directory) for directory in sources if directory],
            wanted_path(form),
            self.config.source(self.source).streams,
            left_out(form),
        )

    def into_bucket(
        self, reader: BackupReader, store: ObjectStore, context: Context, counts: Counter[str] | None = None
    ) -> BucketRestore:
        from backup_playbook.engines.files.to_bucket import BucketRestore

        form: Any = context["params"]
        return BucketRestore(
            reader,
            store,
            self.cancellation,
            wanted_path(form),
            self.config.source(self.source).streams,
            left_out(form),
            Counter() if counts is None else counts,
        )


class RestoreFiles(ChangesProduction, FilesRestoreStep):
    """Bring the files back. What somebody wrote meanwhile is not lost: see FilesRestore."""

    template_fields: Sequence[str] = ("backup", "approval")

    def is_asked_about(self, context: Context) -> bool:
        return bool(context["params"]["destination"] == IN_PLACE)

    def execute(self, context: Context) -> TestedBackup:
        form: Any = context["params"]
        started = time.monotonic()
        counts: Counter[str] = Counter()
        place = self.live_directory() if form["destination"] == IN_PLACE else self.new_place(context)
        root = address_of(place)
        try:
            with self.noticing_damage(context):
                self._fill(place, counts, context)
        finally:
            # of a restore that is not complete, too: all that can be there is there
            self.log.info("Restored into %s: %s", root, dict(counts))
            context["ti"].xcom_push(RESULT, {"root": root, "counts": dict(counts)})
        return {**self.tested, "phases": {"restore": round(time.monotonic() - started, 2)}}

    def _fill(self, place: Path | ScratchDirectory | ObjectStore, counts: Counter[str], context: Context) -> None:
        from backup_playbook.engines.files.scratch import ScratchDirectory
        from backup_playbook.repository.store import ObjectStore

        if isinstance(place, ScratchDirectory):
            with self.reader() as reader:
                place.drop()  # what an earlier try of this run left: the name is the run's own
                place.create(reader.manifest)
                place.restore(reader, self.cancellation, counts)
        elif isinstance(place, ObjectStore):
            with self.reader() as reader:
                self.into_bucket(reader, place, context, counts).run()
        else:
            with self.restoring(context, counts) as work:
                work.run()


class ProveFiles(FilesRestoreStep):
    """Compare every content and attribute with the backup. A whole backup in a new directory is proven by it."""

    def execute(self, context: Context) -> TestedBackup:
        from backup_playbook.dag_parts.repositories import add_proof

        form: Any = context["params"]
        started = time.monotonic()
        remarks: list[str] = []
        if form["destination"] == IN_PLACE:  # somebody works there: a difference is no finding
            with self.restoring(context) as work:
                counts = dict(work.prove())
        else:
            with self.noticing_damage(context), self.reader() as reader:
                counts, remarks = self._compare(reader, context)
        phases = {**self.tested["phases"], "prove": round(time.monotonic() - started, 2)}
        context["ti"].xcom_push(RESULT, {"counts": counts})
        if "paths" in counts and not form["path"] and not left_out(form):
            body = {"seconds": phases, "target": form["target"], "paths": counts["paths"], "run": context["run_id"]}
            backup_id, repository = self.tested["backup_id"], self.tested["repository"]
            remarks += add_proof(self.config, self.source, backup_id, repository, self.tested["origin"], body)
        context["ti"].xcom_push(REMARKS, remarks)
        return {**self.tested, "phases": phases}

    def _compare(self, reader: BackupReader, context: Context) -> tuple[dict[str, int], list[str]]:
        """What was counted, and sentences."""
        from backup_playbook.engines.files.scratch import ScratchDirectory

        place = self.new_place(context)
        if isinstance(place, ScratchDirectory):
            proof = place.prove(reader, self.cancellation)
            some = ", ".join(proof.left_out[:NAMED]) + (" ..." if len(proof.left_out) > NAMED else "")
            remarks = [f"Not in the copy ({len(proof.left_out):,}): {some}"] if proof.left_out else []
            return {"paths": proof.schema_objects}, remarks
        return dict(self.into_bucket(reader, place, context).prove()), []


def address_of(place: Path | ScratchDirectory | ObjectStore) -> str:
    """A Path has a root, too: `/`."""
    return str(place if isinstance(place, os.PathLike) else getattr(place, "url", "") or getattr(place, "root", ""))


class ListFileVersions(SourceOperator):
    """The versions of a file, or of all files that are, or were, in a folder. Returns them as dictionaries."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from backup_playbook.dag_parts.repositories import Repositories
        from backup_playbook.dag_parts.restore_targets import reading_order
        from backup_playbook.engines.files.history import versions_of

        form: Any = context["params"]
        order = reading_order(self.config.source(self.source), self.source, form["repository"], datetime.now(UTC))
        name, found = Repositories(self.config).first(
            list(chain.from_iterable(order)),
            lambda catalog: versions_of(catalog.store, self.source, form["path"] or ""),
        )
        lines = [
            f"{one.stored_at:%Y-%m-%d %H:%M:%S}  {'deleted' if one.deleted else f'{one.bytes:,} B':>16}  "
            f"{one.version}  {one.path}{'  (current)' if one.current and not one.deleted else ''}"
            for one in found
        ]
        self.log.info("%d versions in %s, UTC:\n%s", len(found), name, "\n".join(lines))
        return [{**one._asdict(), "stored_at": one.stored_at.isoformat()} for one in found]
