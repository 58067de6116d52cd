"""A backup of a database: the statements that make it again, one object after the other."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from backup_playbook.core.details import Details
from backup_playbook.core.errors import SourceError
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject, TablePart, TableRecord
from backup_playbook.core.naming import slug
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.streams.blocks import Blocks, tap
from backup_playbook.streams.processes import Cancellation
from tests.support.example_engine.database import MARK_TABLE, Database, Table, count_rows, quoted, read_tables

ROWS_AT_ONCE = 5000
DEFINITIONS, REST = "definitions of tables", "indexes, views, triggers and settings"
_SQL = (
    "SELECT sql || ';' FROM sqlite_schema WHERE {} AND sql IS NOT NULL AND substr(name, 1, 7) <> 'sqlite_' "
    f"AND tbl_name <> '{MARK_TABLE}' ORDER BY rowid"
)


class SqliteDetails(Details):
    """Facts in the manifest, for us alone."""

    database: str
    path: str
    server_version: str


@dataclass(frozen=True)
class Piece:
    """What one object holds: the rows of a table, or definitions."""

    name: str
    content: Blocks
    table: Table | None = None


@dataclass(frozen=True)
class SqliteDump:
    """See `engines.contract.Source`."""

    database: Database

    def dump(self, writer: BackupWriter, cancellation: Cancellation) -> Manifest:
        objects, records = [], []
        with self.database.open(SourceError) as session:
            session.execute("BEGIN")
            _require_supported(session, self.database)  # it reads: all that follows is of this moment
            at, size = datetime.now(UTC), self.database.path.stat().st_size
            for number, piece in enumerate(pieces(session)):
                cancellation.check()
                kind = ObjectKind.TABLE if piece.table else ObjectKind.SCHEMA
                content = tap(piece.content, lambda _: cancellation.check())
                item = writer.write(f"{number:05}-{slug(piece.name)}.sql", kind, content, estimate=size)
                objects.append(item)
                if piece.table:
                    records.append(_record(piece.table, item, count_rows(session, piece.table)))
        path = str(self.database.path.resolve())
        details = SqliteDetails(database=self.database.name, path=path, server_version=sqlite3.sqlite_version).written()
        return writer.manifest("sqlite", snapshot_at=at, details=details, objects=objects, tables=records)


def _record(table: Table, item: StoredObject, rows: int) -> TableRecord:
    part = TablePart(object=item.name, rows=rows, bytes=item.content_bytes, sha256=item.content_sha256)
    return TableRecord(namespace="main", name=table.name, columns=table.columns, key=table.key, parts=(part,))


def pieces(session: sqlite3.Connection) -> Iterator[Piece]:
    """All that a database holds, in the order in which it is made again: triggers fire for no row of a backup."""
    yield Piece(DEFINITIONS, _text(session, _SQL.format("type = 'table'")))
    for table in read_tables(session):
        order = ", ".join(map(quoted, table.key)) or "rowid"
        into = f"INSERT INTO {quoted(table.name)} ({table.names}) VALUES ("
        rows = f"SELECT ? || {table.row} || ');' FROM {quoted(table.name)} ORDER BY {order}"
        yield Piece(table.name, _text(session, rows, into), table)
    yield Piece(REST, _rest(session))


def _rest(session: sqlite3.Connection) -> Iterator[bytes]:
    yield from _text(session, _SQL.format("type <> 'table'"))
    for setting in ("user_version", "application_id"):
        yield from _text(session, f"SELECT 'PRAGMA {setting} = ' || {setting} || ';' FROM pragma_{setting}")
    if session.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone():
        yield b"DELETE FROM sqlite_sequence;\n"  # loading the rows has filled it
        into = f"'INSERT INTO sqlite_sequence VALUES (' || {Table('', ('name', 'seq'), ()).row} || ');'"
        yield from _text(session, f"SELECT {into} FROM sqlite_sequence ORDER BY name")


def _text(session: sqlite3.Connection, query: str, *values: str) -> Iterator[bytes]:
    """The first column of all rows, a line each."""
    cursor = session.execute(query, values)
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        yield "".join(f"{text}\n" for (text,) in rows).encode()


def statements(blocks: Blocks) -> Iterator[str]:
    """The statements of an object; a definition may have several lines."""
    rest, statement = b"", ""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            statement += f"{line.decode()}\n"
            if sqlite3.complete_statement(statement):
                yield statement
                statement = ""


def _require_supported(session: sqlite3.Connection, database: Database) -> None:
    virtual = session.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage = 0").fetchall()
    [encoding] = session.execute("PRAGMA encoding").fetchone()
    problems = [f"{name} is a virtual table." for (name,) in virtual]
    problems += [f"Its encoding is {encoding}."] if encoding != "UTF-8" else []
    if problems:
        raise SourceError(
            f"{database.path} cannot be backed up completely: {' '.join(problems)}",
            "Nothing was written. This example knows ordinary tables in UTF-8 only.",
        )
