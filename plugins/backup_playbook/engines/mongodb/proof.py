"""Proof that a restored database equals its backup: every document, option and index is compared.

`_id`s have one order, whatever the order in which documents were loaded: read in it, ranges have equal bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Set
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from pymongo.database import Database

from backup_playbook.core.errors import RestoreError, UnequalError
from backup_playbook.core.model import Manifest, TablePart, TableRecord
from backup_playbook.core.proof import Proof, TableProof
from backup_playbook.core.words import counted
from backup_playbook.engines.mongodb.archive import left_out, read_collections
from backup_playbook.engines.mongodb.collections import TTL, Collection, in_set, list_collections, list_indexes, to_json
from backup_playbook.engines.mongodb.connection import Document, MongoServer, explained
from backup_playbook.engines.mongodb.definitions import create_indexes
from backup_playbook.engines.mongodb.documents import DocumentCounter
from backup_playbook.engines.mongodb.dump import read_documents
from backup_playbook.engines.mongodb.legacy import not_kept, same_index, same_options, up_to_date
from backup_playbook.engines.mongodb.ranges import IdRange, between
from backup_playbook.engines.mongodb.snapshot_time import SnapshotTime
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.blocks import Digest, drain, tap
from backup_playbook.streams.parallel import Job, run_by_size
from backup_playbook.streams.processes import Cancellation
from backup_playbook.streams.progress import Progress

PROBLEMS_SHOWN = 20
_NOTHING = TablePart(object="", rows=0, bytes=0, sha256=Digest().sha256)


def prove(
    server: MongoServer, reader: BackupReader, cancellation: Cancellation, *, streams: int = 2, within: str = ""
) -> Proof:
    """Compare a database with its backup; then give it the indexes that remove documents.

    within: only a set of its collections, which has no views.
    Raises UnequalError with all differences in `problems`, SourceError when the copy cannot be read.
    """
    with server.connect() as database:
        proving = _Proving(database, reader, streams, cancellation, within)
        problems = proving.problems()
        if problems:
            raise _failure(server.label, reader.manifest, problems)
        with explained(f"{server.label} could not be completed", RestoreError):
            proving.let_documents_expire()
        return proving.proof()


class _Proving:
    def __init__(
        self, database: Database[Document], reader: BackupReader, streams: int, cancellation: Cancellation, within: str
    ) -> None:
        self._database, self._manifest = database, reader.manifest
        self._streams, self._cancellation = streams, cancellation
        expected = read_collections(reader, streams, cancellation)
        self._backed_up = [item for item in expected if not (within and item.is_view)]
        self._expected = {item.name: up_to_date(item) for item in self._backed_up}
        found = list_collections(database, within=within)
        self._snapshot_time = SnapshotTime(tuple(found), datetime.now(UTC))
        self._found = {item.name.removeprefix(in_set(within, "") if within else ""): item for item in found}

    def problems(self) -> list[str]:
        problems = [f"{name} is missing." for name in self._expected.keys() - self._found.keys()]
        problems += [f"{name} is not in the backup." for name in self._found.keys() - self._expected.keys()]
        both = self._expected.keys() & self._found.keys()
        jobs = [Job(0, partial(self._definitions, name)) for name in both]
        problems += [problem for found in run_by_size(jobs, self._streams, self._cancellation) for problem in found]
        return sorted([*problems, *self._documents(both)])

    def proof(self) -> Proof:
        return Proof(
            tables=tuple(
                TableProof(table.namespace, table.name, table.rows, table.bytes, "bytes")
                for table in self._manifest.tables
            ),
            sequences=0,
            large_objects=0,
            schema_objects=len(self._expected) + sum(len(item.indexes) for item in self._expected.values()),
            left_out=(
                *left_out(self._manifest),
                *(words for item in self._backed_up for words in not_kept(item, self._found[item.name])),
            ),
        )

    def let_documents_expire(self) -> None:
        for name, collection in self._expected.items():
            there = self._found[name]
            create_indexes(self._database, there, (index for index in collection.indexes if TTL in index))
            if TTL in collection.options:
                self._database.command({"collMod": there.name, TTL: collection.options[TTL]})

    def _definitions(self, name: str) -> Iterator[str]:
        expected = self._expected[name]
        found = replace(self._found[name], indexes=list_indexes(self._database, self._found[name]))
        self._found[name] = found
        if found.kind != expected.kind or not same_options(expected.options, found.options):
            yield f"{name} is {_described(found)} where the backup has {_described(expected)}."
        wanted = {index["name"]: index for index in expected.indexes}
        there = {index["name"]: index for index in found.indexes}
        for index in sorted(wanted.keys() | there.keys()):
            late = index not in there and TTL in wanted[index]
            same = index in wanted and index in there and same_index(wanted[index], there[index])
            if not late and not same:
                yield (
                    f"The index {index} of {name} is {_described(there.get(index))} where the backup has "
                    f"{_described(wanted.get(index))}."
                )

    def _documents(self, both: Set[str]) -> Iterator[str]:
        tables = [table for table in self._manifest.tables if table.name in both]
        ranges = [(table, part, ids) for table in tables for part, ids in _ranges(table)]
        with Progress(f"proof of {self._database.name}", self._manifest.content_bytes) as self._progress:
            jobs = [Job(part.bytes, partial(self._read, table, part, ids)) for table, part, ids in ranges]
            read = run_by_size(jobs, self._streams, self._cancellation)
        counted: dict[str, int] = defaultdict(int)
        different = set()
        for (table, part, _), (rows, digest) in zip(ranges, read, strict=True):
            counted[table.name] += rows
            if (digest.bytes, digest.sha256) != (part.bytes, part.sha256):
                different.add(table.name)
        for table in tables:
            if table.name in different:
                yield _difference(table, counted[table.name])

    def _read(self, table: TableRecord, part: TablePart, ids: IdRange) -> tuple[int, Digest]:
        counter, digest = DocumentCounter(), Digest()
        average = part.bytes // max(part.rows, 1)
        found = self._found[table.name]
        content = read_documents(self._database, self._snapshot_time, found, ids, average, self._cancellation)
        drain(tap(self._progress.track(content, part.bytes), counter.update, digest.update))
        return counter.finish(), digest


def _ranges(table: TableRecord) -> Iterator[tuple[TablePart, IdRange]]:
    """Cover everything: a range where the source had nothing has to be empty in the copy too."""
    parts = table.parts or (_NOTHING,)
    yield from zip(parts, between([part.key_min for part in parts[1:] if part.key_min]), strict=True)


def _described(what: Collection | Document | None) -> str:
    """Describe a collection by its options, or an index, for people."""
    if what is None:
        return "missing"
    if isinstance(what, Collection):
        return f"a {what.kind} with {_described(what.options)}"
    return to_json(dict(sorted(what.items())))


def _difference(table: TableRecord, rows: int) -> str:
    if rows == table.rows:
        return f"{table.name} has the {counted(rows, 'document')} of the backup, but other values in them."
    return f"{table.name} has {counted(rows, 'document')} where the backup has {table.rows:,}."


def _failure(label: str, manifest: Manifest, problems: list[str]) -> UnequalError:
    more = len(problems) - PROBLEMS_SHOWN
    return UnequalError(
        f"{label} is not equal to the backup {manifest.backup_id} of {manifest.source}: "
        f"{' '.join(problems[:PROBLEMS_SHOWN])}{f' And {more} more.' if more > 0 else ''}",
        "Do not rely on this backup before you know why. Restore it again: a difference that stays is in the "
        "backup, one that goes was made in the copy. Report it in both cases.",
        tuple(problems),
    )
