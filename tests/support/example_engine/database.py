"""Databases as files in a directory: opened, marked and recognised."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from backup_playbook.core.errors import GuardError, PlaybookError, SourceError

SUFFIX = ".sqlite3"
MARK_TABLE = "backup_playbook_mark"
WAIT_SECONDS = 30


@dataclass(frozen=True)
class Identity:
    """A database, by the path of its file without symbolic links. name: for messages."""

    name: str
    path: Path


@dataclass(frozen=True)
class Mark:
    """A scratch, or a quarantine, says that it is one: in a table of its own.

    name: that it was given; it is none under another name. by: the run that made, or replaced it. at: ISO 8601.
    """

    kind: str
    name: str
    source: str
    backup_id: str
    by: str
    at: str

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.at)


@dataclass(frozen=True)
class Table:
    """columns: those with values of their own. key: of the primary key."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"main.{self.name}"

    @property
    def names(self) -> str:
        return ", ".join(map(quoted, self.columns))

    @property
    def row(self) -> str:
        """An SQL expression: the values of a row, as SQL writes them. Equal text means equal rows.

        Texts as hexadecimal digits: `quote` ends at a NUL, and a row is one line this way.
        """
        text = "'CAST(X''' || hex({0}) || ''' AS TEXT)'"
        value = f"iif(typeof({{0}}) = 'text', {text}, quote({{0}}))"
        return "(" + " || ', ' || ".join(value.format(quoted(name)) for name in self.columns) + ")"


@dataclass(frozen=True)
class Database:
    """One file, which may not be there."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def id(self) -> str:
        """The mark of the file itself, whatever its name is now; empty: there is none."""
        if not self.path.exists():
            return ""
        status = self.path.stat()
        return f"{status.st_dev}:{status.st_ino}"

    @contextmanager
    def open(self, error: type[PlaybookError], *, writable: bool = False) -> Iterator[sqlite3.Connection]:
        """error: for what SQLite and the system raise. A transaction that the block does not end is taken back."""
        address = f"{self.path.as_uri()}?mode={'rw' if writable else 'ro'}"
        try:
            with closing(sqlite3.connect(address, timeout=WAIT_SECONDS, isolation_level=None, uri=True)) as session:
                yield session
        except (sqlite3.Error, OSError) as found:
            remedy = "Look whether the file is there, whole, and may be used by the user of the worker."
            raise error(f"{self.path}: {found}.", remedy) from found

    def count(self) -> dict[str, int]:
        """Rows by table."""
        with self.open(SourceError) as session:
            return {table.label: count_rows(session, table) for table in read_tables(session)}

    def mark(self, kind: str, name: str = "") -> Mark | None:
        """Its mark, when it is one of this kind, of this name. A database that was renamed since has another name."""
        if not self.path.exists():
            return None
        with self.open(SourceError) as session:
            found = read_mark(session)
        return found if found and (found.kind, found.name) == (kind, name or self.name) else None


def require_not_production(database: Database, production: Sequence[Identity]) -> None:
    """Raise GuardError when it is about to be written to, or dropped, and is one of `production`."""
    for protected in production:
        if database.path.resolve() == protected.path:
            raise GuardError(
                f"The database {database.path} is the production database {protected.name}.",
                "Nothing was touched. Correct `directory` of the target in targets.yaml.",
            )


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def read_tables(session: sqlite3.Connection) -> list[Table]:
    names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' AND name <> ?"
    found = []
    for (name,) in session.execute(f"{names} ORDER BY name", [MARK_TABLE]).fetchall():
        columns = session.execute("SELECT name, pk FROM pragma_table_info(?) ORDER BY cid", [name]).fetchall()
        key = tuple(column for column, pk in sorted(columns, key=lambda one: one[1]) if pk)
        found.append(Table(name, tuple(column for column, _ in columns), key))
    return found


def count_rows(session: sqlite3.Connection, table: Table) -> int:
    [count] = session.execute(f"SELECT count(*) FROM {quoted(table.name)}").fetchone()
    return int(count)


def read_mark(session: sqlite3.Connection) -> Mark | None:
    if session.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", [MARK_TABLE]).fetchone() is None:
        return None
    return Mark(*session.execute(f"SELECT kind, name, source, backup_id, by, at FROM {MARK_TABLE}").fetchone())


def write_mark(session: sqlite3.Connection, mark: Mark) -> None:
    remove_mark(session)
    columns = asdict(mark)
    session.execute(f"CREATE TABLE {MARK_TABLE} ({', '.join(columns)})")
    session.execute(f"INSERT INTO {MARK_TABLE} VALUES (?, ?, ?, ?, ?, ?)", [*columns.values()])


def remove_mark(session: sqlite3.Connection) -> None:
    session.execute(f"DROP TABLE IF EXISTS {MARK_TABLE}")
