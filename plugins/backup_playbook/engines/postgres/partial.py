"""Parts of a backup: all definitions, with the rows of some tables, and without constraints that could not hold."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.model import Manifest, ObjectKind, TableRecord
from backup_playbook.core.words import counted
from backup_playbook.engines.postgres.archive import REFRESH, is_large_object, is_left_out, restorable
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.postgres.excluded import left_out
from backup_playbook.engines.postgres.leave_out import find_left_out, with_what_needs_it
from backup_playbook.engines.postgres.rights import ALL_RIGHTS, Rights, forced, of_superusers
from backup_playbook.engines.postgres.table_of_contents import Entry, read_entries
from backup_playbook.repository.objects import BackupReader

Name = tuple[str, str]


@dataclass(frozen=True)
class Part:
    """Contents of a restore.

    only: as it was asked for. tables: those whose rows come. entries: of the archive, in its order. absent: tables
    that do not come at all. left_out: all that the copy does not get, in words. checks: see `leave_out.LeftOut`.
    anew: generated columns whose values may be others, see `details.GeneratedDigest.line`.
    """

    only: tuple[str, ...]
    tables: frozenset[Name]
    entries: tuple[Entry, ...]
    absent: frozenset[Name]
    left_out: tuple[str, ...]
    checks: tuple[str, ...] = ()
    anew: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        """Whether everything was asked for."""
        return not self.only

    def has_rows_of(self, table: TableRecord) -> bool:
        """Whether the rows of the table come."""
        return (table.namespace, table.name) in self.tables

    def has(self, table: TableRecord) -> bool:
        """Whether the table comes, be it without rows."""
        return (table.namespace, table.name) not in self.absent

    def content_bytes(self, manifest: Manifest) -> int:
        """Size of the contents, uncompressed."""
        if self.whole:
            return manifest.content_bytes
        return sum(table.bytes for table in manifest.tables if self.has_rows_of(table))

    def definitions(self, *, owners: bool) -> list[Entry]:
        """Entries for pg_restore; owners: with owners and grants."""
        return restorable(self.entries, owners=owners)


def read_part(
    reader: BackupReader, only: Sequence[str] = (), leave_out: Sequence[str] = (), rights: Rights = ALL_RIGHTS
) -> Part:
    """Choose a part of a backup.

    only: schemas, and tables with their schema; empty means everything. A partitioned table means its partitions.
    leave_out: definitions, as `find_left_out` knows them. rights: what a role cannot restore, or not read back, is left
    out too. Raises RestoreError for a name that the backup does not have, with those that come near.
    """
    manifest = reader.manifest
    (item,) = reader.objects(ObjectKind.SCHEMA)
    contents = _Contents(read_entries(b"".join(reader.content(item))), manifest)
    absent = frozenset(contents.absent())
    part = _Selecting(manifest, contents, absent).run(only) if only else _whole(manifest, contents, absent)
    anew = {one.line for one in PostgresDetails.of(manifest).generated or ()}.intersection(leave_out)
    asked = find_left_out(contents.entries, [name for name in leave_out if name not in anew], contents.codec)
    above = [] if rights.superuser else of_superusers(part.entries)
    hidden = [] if rights.sees_all_rows else forced(part.entries)
    gone = asked.entries | {one.number for entry in above for one in with_what_needs_it(entry, part.entries)}
    words = (
        *(f"{one.label(contents.codec)} (only a superuser may create it)" for one in above),
        *(f"FORCE ROW LEVEL SECURITY of {one.label(contents.codec)} (nobody could read it back)" for one in hidden),
    )
    entries = tuple(one for one in part.entries if one.number not in gone)
    left_out = (*part.left_out, *asked.words, *words)
    return replace(part, entries=entries, left_out=left_out, checks=asked.checks, anew=frozenset(anew))


def _whole(manifest: Manifest, contents: _Contents, absent: frozenset[Name]) -> Part:
    tables = frozenset((table.namespace, table.name) for table in manifest.tables) - absent
    keys, words = contents.broken_foreign_keys(tables)
    views = contents.filled_from_elsewhere()
    entries = contents.without([*keys, *views])
    return Part((), tables, entries, absent, (*left_out(manifest), *words, *_unfilled(views)))


class _Contents:
    """Tables and partitions in the table of contents of an archive, by the numbers of their entries."""

    def __init__(self, entries: Sequence[Entry], manifest: Manifest) -> None:
        self.entries, self._manifest = entries, manifest
        self.by_number = {one.number: one for one in entries}
        self.codec = PostgresDetails.of(manifest).python_codec
        self.tables = {one.number: self._name(one) for one in entries if one.kind == b"TABLE"}
        self._with_rows = {(one.namespace, one.name): one for one in manifest.tables}
        self._emptied = set(PostgresDetails.of(manifest).without_rows)
        self._partitions: dict[int, list[int]] = defaultdict(list)
        for attach in self.of(b"TABLE ATTACH"):
            partition, *parent = self.tables_of(attach)
            if parent:  # else it is a foreign table, whose rows are elsewhere
                self._partitions[parent[0]].append(partition)

    def _name(self, entry: Entry) -> Name:
        return entry.namespace.decode(self.codec, errors="replace"), entry.tag.decode(self.codec, errors="replace")

    def of(self, kind: bytes) -> list[Entry]:
        return [one for one in self.entries if one.kind == kind]

    def without(self, entries: Sequence[Entry], *, large_objects: bool = True) -> tuple[Entry, ...]:
        numbers = {one.number for one in entries}
        return tuple(one for one in self.entries
                     if one.number not in numbers and (large_objects or not is_large_object(one)))  # fmt: skip

    def tables_of(self, entry: Entry) -> list[int]:
        """Tables that an entry depends on: of a partition, itself and its parent."""
        return [found for found in dict.fromkeys(entry.needs) if found in self.tables]

    def leaves(self, table: int, among: Container[Name] | None = None) -> Iterator[Name]:
        """Yield the table, or the partitions that hold its rows. among: tables; all with rows in the backup if None."""
        if self.tables[table] in (self._with_rows if among is None else among):
            yield self.tables[table]
        for partition in self._partitions[table]:
            yield from self.leaves(partition, among)

    def absent(self) -> Iterator[Name]:
        """Tables that no copy gets: those of pg_cron, and those that cannot be without it."""
        kept = {one.number for one in restorable(self.entries, owners=True)}
        yield from (name for number, name in self.tables.items() if number not in kept)
        yield from ((one.namespace, one.name) for one in self._manifest.tables if is_left_out(one, self._manifest))

    def filled_from_elsewhere(self) -> list[Entry]:
        """Rows of materialised views that read foreign tables: without the user mappings, no server gives them."""
        if not self.of(b"USER MAPPING"):
            return []
        foreign = {one.number for one in self.of(b"FOREIGN TABLE")}
        return [one for one in self.of(REFRESH) if self._all_needs(one) & foreign]

    def _all_needs(self, entry: Entry) -> set[int]:
        found: set[int] = set()
        waiting = [entry]
        while waiting:
            new = {need for need in waiting.pop().needs if need not in found}
            found |= new
            waiting += [self.by_number[need] for need in new if need in self.by_number]
        return found

    def broken_foreign_keys(self, chosen: Set[Name]) -> tuple[list[Entry], list[str]]:
        """Find foreign keys from rows to tables that lack theirs, with what needs them; and words for people."""
        entries: list[Entry] = []
        words = []
        for key in self.of(b"FK CONSTRAINT"):
            tables = sorted(self.tables_of(key), key=lambda table: len(self._beginning(key, table)), reverse=True)
            child, parent = tables[0], tables[-1]
            has_rows = any(name in chosen and self._with_rows[name].rows for name in self.leaves(child))
            lacks = any(name not in chosen and self._with_rows[name].rows for name in self.leaves(parent))
            if has_rows and (lacks or any(self.leaves(parent, self._emptied))):
                name = key.tag.removeprefix(self._beginning(key, child)).decode(self.codec, errors="replace")
                table = ".".join(self.tables[child])
                words.append(f"the foreign key {name} of {table}, to rows that are not restored")
                entries += with_what_needs_it(key, self.entries)
        return entries, words

    def _beginning(self, key: Entry, table: int) -> bytes:
        """Part of a foreign key's tag, `table key`, that is the name of this table."""
        found = self.by_number[table]
        name = found.tag + b" "
        return name if key.namespace == found.namespace and key.tag.startswith(name) else b""

    def partitioned(self) -> list[int]:
        return [table for table, partitions in self._partitions.items() if partitions]


class _Selecting:
    def __init__(self, manifest: Manifest, contents: _Contents, absent: frozenset[Name]) -> None:
        self._manifest, self._contents, self._absent = manifest, contents, absent
        self._records = {(table.namespace, table.name): table for table in manifest.tables}

    def run(self, only: Sequence[str]) -> Part:
        tables = self._chosen(only)
        keys, words = self._contents.broken_foreign_keys(tables)
        views = self._contents.of(REFRESH)
        entries = self._contents.without([*keys, *views], large_objects=False)
        left_out = tuple(self._left_out(tables, words, views))
        return Part(tuple(only), frozenset(tables), entries, self._absent, left_out)

    def _chosen(self, only: Sequence[str]) -> set[Name]:
        known = self._known()
        if unknown := [name for name in only if name not in known]:
            near = {name: difflib.get_close_matches(name, known, 3, 0.5) for name in unknown}
            hints = [f"{name!r}: is it {' or '.join(found)}?" for name, found in near.items() if found]
            raise RestoreError(
                f"The backup {self._manifest.backup_id} has no schema or table {', '.join(map(repr, unknown))}.",
                " ".join(["Correct `only`: schemas, and tables as `schema.table`.", *hints]),
            )
        chosen = {name for wanted in only for name in known[wanted]}
        # through their root, rows come into any of its partitions
        roots = {self._records[name].root for name in chosen} - {None}
        chosen |= {name for name, table in self._records.items() if table.root in roots}
        # what an extension needs in its own tables is no one's to choose
        chosen |= {name for name, table in self._records.items() if table.kind == "extension"}
        return chosen - self._absent

    def _known(self) -> Mapping[str, set[Name]]:
        """Tables by each name that they can be chosen by."""
        known: dict[str, set[Name]] = defaultdict(set)
        for name in self._records:
            known[name[0]].add(name)
            known[".".join(name)].add(name)
        for table in self._contents.partitioned():
            name = self._contents.tables[table]
            for wanted in (name[0], ".".join(name)):
                known[wanted].update(self._contents.leaves(table))
        return known

    def _left_out(self, chosen: set[Name], keys: Sequence[str], views: Sequence[Entry]) -> Iterator[str]:
        yield from left_out(self._manifest)
        if empty := sum(1 for name, table in self._records.items() if name not in chosen and table.rows):
            yield f"the rows of {counted(empty, 'other table')}"
        if count := PostgresDetails.of(self._manifest).large_objects:
            yield counted(count, "large object")
        yield from keys
        yield from _unfilled(views)


def _unfilled(views: Sequence[Entry]) -> Iterator[str]:
    if views:
        yield f"the rows of {counted(len(views), 'materialised view')} (REFRESH MATERIALIZED VIEW fills one)"
