"""Checks of a MongoDB backup that need no database."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.engines.contract import CopyOptions, DatabaseEngine, Scope
from backup_playbook.engines.mongodb.archive import consistency_note, left_out, metadata_names, read_collection
from backup_playbook.engines.mongodb.collections import WORDS
from backup_playbook.engines.mongodb.details import MongoDetails
from backup_playbook.engines.mongodb.documents import DocumentCounter
from backup_playbook.engines.mongodb.kept import drop_statement
from backup_playbook.engines.mongodb.restore_script import render
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.blocks import Blocks, drain, tap

_REMEDY = "Use another backup, or the off-site copy. If this one was just taken, run the backup again and report it."


class MongoEngine:
    """See `engines.contract.DatabaseEngine`."""

    name = "mongodb"
    words = WORDS

    def summary(self, manifest: Manifest) -> str:
        """Return `12 collections, 3,000 documents`, and of how many moments they are."""
        return f"{self.words.amount(len(manifest.tables), manifest.rows)}{consistency_note(manifest)}"

    def scope(self, reader: BackupReader, options: CopyOptions) -> Scope:  # noqa: ARG002 - of the contract
        """Return the whole database: the options are for other engines."""
        manifest = reader.manifest
        return Scope(
            tables=[f"{table.namespace}.{table.name}" for table in manifest.tables],
            rows=manifest.rows,
            content_bytes=manifest.content_bytes,
            left_out=left_out(manifest),
        )

    def database(self, manifest: Manifest) -> str:
        """Return the name of the database that was backed up."""
        return MongoDetails.of(manifest).database

    def undo_kept(self, name: str) -> str:
        """Return the statement that drops a kept copy."""
        return drop_statement(name)

    def check_content(self, manifest: Manifest, item: StoredObject, content: Blocks) -> None:
        """Compare the documents, or the options and indexes, of an object with the manifest."""
        if item.kind is ObjectKind.METADATA:
            read_collection(manifest, item, content)
            return
        counter = DocumentCounter()
        drain(tap(content, counter.update))
        documents = counter.finish()
        for table, part in manifest.parts_by_object.get(item.name, ()):
            if (part.rows, part.bytes, part.sha256) != (documents, item.content_bytes, item.content_sha256):
                raise VerificationError(
                    f"{item.name} has {documents} documents of {table.name} where the manifest says {part.rows}, or "
                    "other bytes.",
                    _REMEDY,
                )

    def check_manifest(self, manifest: Manifest) -> list[str]:
        """List what the manifest lacks, or names twice."""
        by_kind = {kind: [item.name for item in manifest.objects if item.kind is kind] for kind in ObjectKind}
        names = Counter(item.name for item in manifest.objects)
        problems = [f"It names {name} {count} times." for name, count in names.items() if count > 1]
        tables = Counter(table.name for table in manifest.tables)
        problems += [f"It has the collection {name} {count} times." for name, count in tables.items() if count > 1]
        held, parts = set(by_kind[ObjectKind.COLLECTION]), manifest.parts_by_object
        problems += [f"{name} holds documents of no collection." for name in sorted(held - parts.keys())]
        problems += [f"Documents are said to be in {name}, which it does not name." for name in
                     sorted(parts.keys() - held)]  # fmt: skip
        problems += [f"{name} is said to hold {len(found)} parts." for name, found in parts.items() if len(found) > 1]
        expected = metadata_names(manifest)
        problems += [f"Options and indexes of {expected[name]} are missing." for name in
                     sorted(expected.keys() - set(by_kind[ObjectKind.METADATA]))]  # fmt: skip
        problems += [f"{name} holds options and indexes of no collection." for name in
                     sorted(set(by_kind[ObjectKind.METADATA]) - expected.keys())]  # fmt: skip
        return problems

    def restore_script(self, manifest: Manifest, repository_url: str) -> str:
        """Write a bash script that restores this backup with mongorestore."""
        return render(manifest, repository_url)


if TYPE_CHECKING:
    _engine: type[DatabaseEngine] = MongoEngine
