"""Part of a backup: all definitions, but the rows of some tables only; and which definitions could not hold then."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.holdings import counted
from backup_playbook.core.model import Manifest, ObjectKind, TableRecord
from backup_playbook.engines.postgres.archive import LARGE_OBJECTS, is_left_out, left_out, shortened
from backup_playbook.engines.postgres.clients import Clients
from backup_playbook.engines.postgres.leave_out import find_left_out
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams import processes

_ENTRY = re.compile(rb"(\d+); (\d+) \d+ (.*)")
_DEPENDS = b";\tdepends on: "
_PG_CLASS = b"1259"
_TABLE, _ATTACH, _FOREIGN_KEY = b"TABLE ", b"TABLE ATTACH ", b"FK CONSTRAINT "
_REFRESH = b"MATERIALIZED VIEW DATA "
_USER_MAPPING, _FOREIGN_TABLE = b"USER MAPPING ", b"FOREIGN TABLE "

Name = tuple[str, str]


@dataclass(frozen=True)
class Part:
    """What a restore brings. only: as it was asked for. tables: whose rows. entries: ids in the archive's table of
    contents that are left out. left_out: all that the copy does not get, in words. checks: see `leave_out.LeftOut`."""

    only: tuple[str, ...]
    tables: frozenset[Name]
    entries: frozenset[bytes]
    left_out: tuple[str, ...]
    checks: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return not self.only

    def has_rows_of(self, table: TableRecord) -> bool:
        return (table.namespace, table.name) in self.tables

    def content_bytes(self, manifest: Manifest) -> int:
        if self.whole:
            return manifest.content_bytes
        return sum(table.bytes for table in manifest.tables if self.has_rows_of(table))

    def definitions(self, lines: Iterable[bytes]) -> list[bytes]:
        """lines: of `archive.restorable`."""
        found = [line for line in lines if line.partition(b";")[0] not in self.entries]
        return found if self.whole else [line for line in found if not LARGE_OBJECTS.match(line)]


def read_part(reader: BackupReader, clients: Clients, only: Sequence[str] = (), leave_out: Sequence[str] = ()) -> Part:
    """only: schemas, and tables with their schema; empty means everything. A partitioned table means its partitions.

    leave_out: definitions, as `find_left_out` knows them. Raises RestoreError for a name that the backup does not have,
    with those that come near.
    """
    manifest = reader.manifest
    with tempfile.NamedTemporaryFile(prefix="backup-playbook-") as file:
        for item in reader.objects(ObjectKind.SCHEMA):
            file.writelines(reader.content(item))
        file.flush()
        listing = processes.run([str(clients.pg_restore), "-l", "-v", Path(file.name)])
    contents = _Contents(listing, manifest)
    part = _Selecting(manifest, contents).run(only) if only else _whole(manifest, contents)
    asked = find_left_out(contents.texts, contents.needs, leave_out, manifest.details["python_codec"])
    return replace(
        part, entries=part.entries | asked.entries, left_out=(*part.left_out, *asked.words), checks=asked.checks
    )


def _whole(manifest: Manifest, contents: _Contents) -> Part:
    tables = frozenset((table.namespace, table.name) for table in manifest.tables if not is_left_out(table))
    views = contents.filled_from_elsewhere()
    return Part((), tables, frozenset(views), (*left_out(manifest), *_unfilled(views)))


class _Contents:
    """The table of contents of an archive: entries by their id, what they depend on, and which are tables."""

    def __init__(self, listing: bytes, manifest: Manifest) -> None:
        self.texts: dict[bytes, bytes] = {}
        self.needs: dict[bytes, list[bytes]] = defaultdict(list)
        self.tables: dict[bytes, bytes] = {}
        """`schema name owner` by id; any of them may have spaces."""
        number = b""
        for line in listing.split(b"\n"):
            if match := _ENTRY.match(line):
                number, catalog, self.texts[number] = match[1], match[2], match[3]
                if catalog == _PG_CLASS and match[3].startswith(_TABLE):
                    self.tables[number] = match[3].removeprefix(_TABLE)
            elif line.startswith(_DEPENDS):
                self.needs[number] = line.removeprefix(_DEPENDS).split()
        self._partitions: dict[bytes, list[bytes]] = defaultdict(list)
        for number in self.of(_ATTACH):
            partition, *parent = self.tables_of(number)
            if parent:  # else it is a foreign table, whose rows are elsewhere
                self._partitions[parent[0]].append(partition)
        codec = manifest.details["python_codec"]
        # pg_restore writes line breaks in names as spaces
        names = {re.sub(r"[\n\r]", " ", f"{one.namespace} {one.name}").encode(codec): (one.namespace, one.name)
                 for one in manifest.tables}  # fmt: skip
        self._names = {number: next((names[text] for text in shortened(table) if text in names), None)
                       for number, table in self.tables.items()}  # fmt: skip

    def of(self, kind: bytes) -> list[bytes]:
        return [number for number, text in self.texts.items() if text.startswith(kind)]

    def tables_of(self, number: bytes) -> list[bytes]:
        """The tables that an entry depends on: of a partition, itself and its parent."""
        return [found for found in dict.fromkeys(self.needs[number]) if found in self.tables]

    def leaves(self, table: bytes) -> Iterator[Name]:
        """The table itself, or the partitions that hold its rows."""
        if name := self._names[table]:
            yield name
        for partition in self._partitions[table]:
            yield from self.leaves(partition)

    def filled_from_elsewhere(self) -> list[bytes]:
        """Rows of materialised views that read foreign tables: without the user mappings, no server gives them."""
        if not self.of(_USER_MAPPING):
            return []
        foreign = set(self.of(_FOREIGN_TABLE))
        return [number for number in self.of(_REFRESH) if self._all_needs(number) & foreign]

    def _all_needs(self, number: bytes) -> set[bytes]:
        found: set[bytes] = set()
        waiting = [number]
        while waiting:
            new = {need for need in self.needs.get(waiting.pop(), ()) if need not in found}
            found |= new
            waiting += new
        return found

    def partitioned(self) -> list[bytes]:
        return [table for table, partitions in self._partitions.items() if partitions]


class _Selecting:
    def __init__(self, manifest: Manifest, contents: _Contents) -> None:
        self._manifest, self._contents = manifest, contents
        self._records = {(table.namespace, table.name): table for table in manifest.tables}
        self._codec = str(manifest.details["python_codec"])

    def run(self, only: Sequence[str]) -> Part:
        tables = self._chosen(only)
        keys = dict(self._broken_foreign_keys(tables))
        views = self._contents.of(_REFRESH)
        left_out = tuple(self._left_out(tables, keys, views))
        return Part(tuple(only), frozenset(tables), frozenset([*keys, *views]), left_out)

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
        return {name for name in chosen if not is_left_out(self._records[name])}

    def _known(self) -> Mapping[str, set[Name]]:
        """Tables by all names that they can be chosen by."""
        known: dict[str, set[Name]] = defaultdict(set)
        for name in self._records:
            known[name[0]].add(name)
            known[".".join(name)].add(name)
        for table in self._contents.partitioned():
            for text in shortened(self._contents.tables[table]):
                known[self._label(text)].update(self._contents.leaves(table))
        return known

    def _broken_foreign_keys(self, chosen: set[Name]) -> Iterator[tuple[bytes, str]]:
        """Ids, and names for people: those of tables with rows to tables that lack theirs."""
        for number in self._contents.of(_FOREIGN_KEY):
            text = self._contents.texts[number].removeprefix(_FOREIGN_KEY)
            tables = self._contents.tables_of(number)
            if len(tables) < 2:  # of a table to itself
                continue
            child, parent = sorted(tables, key=lambda table: len(self._beginning(text, table)), reverse=True)
            has_rows = any(name in chosen and self._records[name].rows for name in self._contents.leaves(child))
            lacks = any(name not in chosen and self._records[name].rows for name in self._contents.leaves(parent))
            if has_rows and lacks:
                table = self._beginning(text, child)
                name = next(shortened(text)).removeprefix(table).decode(self._codec, errors="replace").strip()
                yield number, f"the foreign key {name} of {self._label(table)}, to rows that are not restored"

    def _beginning(self, text: bytes, table: bytes) -> bytes:
        """So much of `schema name` of a table does the text of a foreign key begin with."""
        found = (part for part in shortened(self._contents.tables[table]) if text.startswith(part + b" "))
        return next(found, b"")

    def _label(self, text: bytes) -> str:
        return text.decode(self._codec, errors="replace").replace(" ", ".", 1)

    def _left_out(self, chosen: set[Name], keys: Mapping[bytes, str], views: Sequence[bytes]) -> Iterator[str]:
        yield from left_out(self._manifest)
        if empty := sum(1 for name, table in self._records.items() if name not in chosen and table.rows):
            yield f"the rows of {counted(empty, 'other table')}"
        if count := self._manifest.details["large_objects"]:
            yield counted(count, "large object")
        yield from keys.values()
        yield from _unfilled(views)


def _unfilled(views: Sequence[bytes]) -> Iterator[str]:
    if views:
        yield f"the rows of {counted(len(views), 'materialised view')} (REFRESH MATERIALIZED VIEW fills one)"
