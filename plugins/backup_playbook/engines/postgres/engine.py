"""Checks of a Postgres backup without its database, and the script that restores it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from backup_playbook.core.errors import ProcessFailedError, VerificationError
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.core.words import EngineWords
from backup_playbook.engines.contract import CopyOptions, DatabaseEngine, Scope
from backup_playbook.engines.postgres.clients import find_clients
from backup_playbook.engines.postgres.copy_commands import copy_from_line
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.postgres.kept import drop_statement
from backup_playbook.engines.postgres.packs import PackReader
from backup_playbook.engines.postgres.partial import read_part
from backup_playbook.engines.postgres.restore_script import render
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams import processes
from backup_playbook.streams.blocks import Blocks, drain, tap

_REMEDY = "Use another backup, or the off-site copy. If this one was just taken, run the backup again and report it."


class PostgresEngine:
    """Knowledge of Postgres backups, see `engines.contract.DatabaseEngine`."""

    name = "postgres"
    words = EngineWords(not_copied="owners and grants", undo_records="run it with psql in production")

    def summary(self, manifest: Manifest) -> str:
        """Return `12 tables, 3,000 rows`."""
        return self.words.amount(len(manifest.tables), manifest.rows)

    def scope(self, reader: BackupReader, options: CopyOptions) -> Scope:
        """Return the part that a copy with these options gets. Raises RestoreError for names that are not there."""
        manifest = reader.manifest
        part = read_part(reader, options.only, options.leave_out)
        tables = [table for table in manifest.tables if part.has_rows_of(table)]
        return Scope(
            tables=[f"{table.namespace}.{table.name}" for table in tables],
            rows=sum(table.rows for table in tables),
            content_bytes=part.content_bytes(manifest),
            left_out=part.left_out,
            only=part.only,
        )

    def database(self, manifest: Manifest) -> str:
        """Return the name of the database that was backed up."""
        return PostgresDetails.of(manifest).database_name

    def undo_kept(self, name: str) -> str:
        """Return the statement that drops a kept copy."""
        return drop_statement(name)

    def check_content(self, manifest: Manifest, item: StoredObject, content: Blocks) -> None:
        """Read an object to its end. Raises VerificationError when it is not what the manifest says."""
        checks: dict[ObjectKind, Callable[[Manifest, StoredObject, Blocks], None]] = {
            ObjectKind.TABLE: _check_table,
            ObjectKind.PACK: _check_pack,
            ObjectKind.SCHEMA: _check_archive,
            ObjectKind.LARGE_OBJECTS: _check_archive,
        }
        check = checks.get(item.kind)
        if check:
            check(manifest, item, content)
        else:
            drain(content)

    def check_manifest(self, manifest: Manifest) -> list[str]:
        """Write a sentence for everything that the manifest lacks or contradicts."""
        kinds = [item.kind for item in manifest.objects]
        problems = [
            f"It has {kinds.count(kind)} objects of kind {kind.value} instead of one."
            for kind in (ObjectKind.SCHEMA, ObjectKind.GLOBALS)
            if kinds.count(kind) != 1
        ]
        details = PostgresDetails.of(manifest)
        for kind, count, what in (
            (ObjectKind.LARGE_OBJECTS, details.large_objects, "large objects"),
            (ObjectKind.SEQUENCES, details.sequences, "sequences"),
        ):
            if count and kind not in kinds:
                problems.append(f"It counts {count} {what} and has no object for them.")
        holders = {item.name for item in manifest.objects if item.kind in (ObjectKind.TABLE, ObjectKind.PACK)}
        problems += [f"{name} holds rows of no table." for name in sorted(holders - manifest.parts_by_object.keys())]
        problems += [f"Rows are said to be in {name}, which it does not name." for name in
                     sorted(manifest.parts_by_object.keys() - holders)]  # fmt: skip
        problems += [
            f"The table {table.namespace}.{table.name} has no part." for table in manifest.tables if not table.parts
        ]
        return problems + _ambiguous(manifest)

    def restore_script(self, manifest: Manifest, repository_url: str) -> str:
        """Script that restores the backup with stock tools."""
        return render(manifest, repository_url)


def _ambiguous(manifest: Manifest) -> list[str]:
    """Find objects that would be restored twice, or in an order that nothing fixes."""
    names = Counter(item.name for item in manifest.objects)
    tables = Counter((table.namespace, table.name) for table in manifest.tables)
    problems = [f"It names {name} {count} times." for name, count in names.items() if count > 1]
    problems += [f"It has the table {'.'.join(name)} {count} times." for name, count in tables.items() if count > 1]
    parts = manifest.parts_by_object
    problems += [
        f"{item.name} is said to hold rows of {len(parts.get(item.name, ()))} tables instead of one."
        for item in manifest.objects
        if item.kind is ObjectKind.TABLE and len(parts.get(item.name, ())) > 1
    ]
    return problems


def _check_table(manifest: Manifest, item: StoredObject, content: Blocks) -> None:
    rows = 0
    for block in content:
        rows += block.count(b"\n")
    ((table, part),) = manifest.parts_by_object[item.name]
    if (part.rows, part.bytes, part.sha256) != (rows, item.content_bytes, item.content_sha256):
        raise VerificationError(
            f"{item.name} has {rows} rows of {table.namespace}.{table.name} where the manifest says {part.rows}, "
            "or other bytes.",
            _REMEDY,
        )


def _check_pack(manifest: Manifest, item: StoredObject, content: Blocks) -> None:
    reader = PackReader()
    drain(tap(content, reader.update))
    found = reader.finish()
    expected = manifest.parts_by_object[item.name]
    if len(found) != len(expected):
        raise VerificationError(
            f"{item.name} has {len(found)} tables where the manifest says {len(expected)}.", _REMEDY
        )
    codec = PostgresDetails.of(manifest).python_codec
    for packed, (table, part) in zip(found, expected, strict=True):
        header = copy_from_line(table.target, table.columns).encode(codec)
        if (packed.header, packed.rows, packed.bytes, packed.sha256) != (header, part.rows, part.bytes, part.sha256):
            raise VerificationError(
                f"{item.name} has {packed.rows} rows for {packed.header.decode(errors='replace')} where the manifest "
                f"says {part.rows} rows of {table.namespace}.{table.name}, or other bytes.",
                _REMEDY,
            )


def _check_archive(manifest: Manifest, item: StoredObject, content: Blocks) -> None:
    """Let pg_restore read the table of contents; the rest is read for the digests."""
    clients = find_clients(PostgresDetails.of(manifest).major)
    try:
        listing = processes.run([clients.pg_restore, "-l"], stdin=content)
    except ProcessFailedError as error:
        # other stored bytes explain it better than what pg_restore makes of them
        drain(content)
        raise VerificationError(f"pg_restore cannot read {item.name}: {error.stderr}", _REMEDY) from None
    drain(content)
    if b"TOC Entries:" not in listing:
        raise VerificationError(f"pg_restore finds no table of contents in {item.name}.", _REMEDY)


if TYPE_CHECKING:
    _engine: type[DatabaseEngine] = PostgresEngine
