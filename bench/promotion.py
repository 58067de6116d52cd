"""A promotion under load: for how long does the live name not answer 20 clients that reconnect in a tight loop?

As the clients see it: from the last commit that one of them had in the old database to the first in the new one.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg

from backup_playbook.core.errors import PlaybookError
from backup_playbook.core.promotion import quarantine_name
from backup_playbook.engines.postgres.connection import PostgresServer, identity
from backup_playbook.engines.postgres.promotion import Promotion
from backup_playbook.engines.postgres.swap import Swap
from bench.measure import Series
from bench.report import Figure, Section
from bench.stand import Stand
from embedded.processes import LOOPBACK

CLIENTS = 20
ROUNDS = 5
LIVE, COPY = "promoted_live", "promoted_copy"


class Clients:
    """Write, and reconnect at once when they cannot. commits: (when, client, number); all clocks are one."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=[number]) for number in range(CLIENTS)]
        self.commits: list[tuple[float, int, int]] = []

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        self.wait_for(CLIENTS * 5)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        wanted = len(self.commits) + more
        while len(self.commits) < wanted:
            time.sleep(0.01)

    def gap(self) -> float:
        """The longest time without a commit of any client."""
        moments = sorted(moment for moment, _, _ in self.commits)
        return max(after - before for before, after in itertools.pairwise(moments))

    def _write(self, me: int) -> None:
        number = 0
        while not self._stop.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True) as session:
                    while not self._stop.is_set():
                        number += 1
                        session.execute("INSERT INTO written VALUES (%s, %s)", [me, number])
                        self.commits.append((time.monotonic(), me, number))
            except psycopg.OperationalError:
                continue


def measure(stand: Stand, say: Callable[[str], None]) -> Section:
    """Raises PlaybookError when a commit was lost."""
    series = Series(f"the longest time without a commit of {CLIENTS} clients that reconnect in a tight loop")
    refused: list[float] = []
    for number in range(ROUNDS):
        seconds, closed = _round(stand)
        say(f"round {number + 1} of {ROUNDS}: promotion {seconds:.2f} s without a commit")
        series.seconds.append(seconds)
        refused.append(round(closed, 3))
    figure = Figure("promotion_unreachable_seconds", max(series.seconds), (min(series.seconds), max(series.seconds)))
    return Section("promotion", "Promotion", {"promotion": series}, [figure], {"refused connections for": refused})


def _round(stand: Stand) -> tuple[float, float]:
    now = datetime.now(UTC)
    quarantine = quarantine_name(LIVE, now)
    keywords = {"host": LOOPBACK, "port": str(stand.postgres.port), "user": "postgres", "dbname": "postgres"}
    server = PostgresServer(keywords, stand.postgres.password)
    try:
        oids = []
        for name in (LIVE, COPY):
            stand.postgres.create_database(name)
            with stand.postgres.connect(name) as session:
                session.execute("CREATE TABLE written (client int, number int)")
                found = identity(session)
                assert found is not None
                oids.append(found.database_oid)
        swap = Swap(LIVE, oids[0], COPY, oids[1], quarantine)
        with Clients(stand.postgres.dsn(LIVE)) as clients:
            promoted = Promotion(server, swap, "bench", "bench", now).run()
            clients.wait_for(CLIENTS * 5)
        _require_all_there(stand, clients, quarantine)
        return clients.gap(), promoted.unreachable_seconds
    finally:
        for name in (LIVE, COPY, quarantine):
            stand.postgres.drop_database(name)


def _require_all_there(stand: Stand, clients: Clients, quarantine: str) -> None:
    with stand.postgres.connect() as session:
        session.execute(f"ALTER DATABASE {quarantine} ALLOW_CONNECTIONS true".encode())
    found = set()
    for name in (LIVE, quarantine):
        with stand.postgres.connect(name) as session:
            found |= set(session.execute("SELECT client, number FROM written").fetchall())
    if lost := {(me, number) for _, me, number in clients.commits} - found:
        raise PlaybookError(f"{len(lost)} committed writes are in neither database.", "Correct Promotion.")
