"""A SQLite database for the tests of what engines do to production: that of the example in tests/support."""

import contextlib
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from backup_playbook.engines.contract import Source
from backup_playbook.engines.record_recovery import WantedRecords
from tests.contract.scenes import ORDERS
from tests.support.example_engine.copies import Directory
from tests.support.example_engine.database import MARK_TABLE, SUFFIX, Database, Identity
from tests.support.example_engine.dump import SqliteDump
from tests.support.example_engine.engine import SqliteEngine
from tests.support.example_engine.live import SqliteLive
from tests.support.example_engine.records import SqliteRecords


class SqliteScene:
    """With a view, an index and an empty table."""

    engine = SqliteEngine()

    def __init__(self, directory: Path) -> None:
        self.name = f"live_{uuid.uuid4().hex[:8]}"
        self._file, self._origin = directory / f"{self.name}{SUFFIX}", directory / f"origin{SUFFIX}"
        self.staging = Directory(directory, lambda: [Identity(self.name, self._file.resolve())])
        self.live = self.of(self.name)
        self._patch = pytest.MonkeyPatch()
        with closing(sqlite3.connect(self._origin)) as session:
            session.executescript(
                "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT, mail TEXT UNIQUE);"
                "CREATE TABLE empty (id INT); CREATE INDEX states ON orders (state);"
                "CREATE VIEW paid AS SELECT * FROM orders WHERE state = 'paid';"
            )
            rows = [(number, "paid", f"m{number}") for number in range(1, ORDERS + 1)]
            session.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
            session.commit()

    def of(self, source: str) -> SqliteLive:
        return SqliteLive(source, self.name, self.staging)

    def records(self, wanted: WantedRecords) -> SqliteRecords:
        return SqliteRecords(Database(self._file), wanted)

    def source(self) -> Source:
        return SqliteDump(Database(self._origin))

    def begin(self) -> None:
        shutil.copy(self._origin, self._file)

    def damage(self) -> None:
        self._do("DROP VIEW paid; DELETE FROM orders WHERE id < 3; UPDATE orders SET state = 'lost'")
        self._do("CREATE TABLE since_then AS SELECT 1 AS id")

    def go_on(self) -> None:
        self.delete(ORDERS)

    def counted(self, orders: int) -> dict[str, int]:
        return {"main.orders": orders, "main.empty": 0}

    def orders(self) -> dict[int, tuple[str, str]]:
        with closing(sqlite3.connect(self._file)) as session:
            return {number: (state, mail) for number, state, mail in session.execute("SELECT * FROM orders")}

    def delete(self, *orders: int) -> None:
        self._do(f"DELETE FROM orders WHERE id IN ({', '.join(map(str, orders))})")

    def change(self, order: int) -> None:
        self._do(f"UPDATE orders SET state = 'changed' WHERE id = {order}")

    def insert(self, order: int, mail: str) -> None:
        self._do(f"INSERT INTO orders VALUES ({order}, 'paid', '{mail}')")

    def below(self, order: int) -> str:
        return f"id < {order}"

    def undo(self, content: bytes) -> None:
        self._do(content.decode())

    def contents(self) -> object:
        with closing(sqlite3.connect(self._file)) as session:
            return list(session.iterdump()), self._file.stat().st_mode

    def rows(self, database: str = "") -> object:
        with closing(sqlite3.connect(self.staging.database(database or self.name).path)) as session:
            return {line for line in session.iterdump() if line.startswith("INSERT") and MARK_TABLE not in line}

    def rows_aside(self, quarantine: str) -> object:
        return self.rows(quarantine)

    def is_closed(self, quarantine: str) -> bool:
        return not self.staging.database(quarantine).path.stat().st_mode & 0o222

    def leftovers(self) -> set[str]:
        return {path.stem for path in self.staging.path.iterdir()} - {self.name, "origin"}

    def replace(self) -> None:
        """Make it before the other one goes: a new file may get the number of one that is gone."""
        other = shutil.copy(self._origin, self._file.with_suffix(".new"))
        Path(other).replace(self._file)

    def without_rights(self) -> SqliteLive:
        self._patch.setenv("LOGNAME", "weak")
        self._patch.setattr(os, "access", lambda *_: False)  # root may do anything
        return self.live

    @contextmanager
    def dying_half_way(self) -> Iterator[None]:
        """Before the copy gets the name, when the live database has the mark and the name of a quarantine."""

        class DiesError(BaseException):
            pass

        def die(*_: Any) -> None:
            raise DiesError

        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(DiesError):
            patch.setattr(Path, "replace", die)
            yield

    def end(self) -> None:
        self._patch.undo()
        for name in {self.name, *self.leftovers()}:
            self.staging.database(name).path.unlink()

    def close(self) -> None: ...

    def _do(self, script: str) -> None:
        with closing(sqlite3.connect(self._file)) as session:
            session.executescript(script)
