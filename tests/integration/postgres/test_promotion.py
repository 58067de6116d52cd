"""A copy takes the place of a live database: under load, interrupted anywhere, refused, and taken back."""

import contextlib
import threading
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.engines.postgres.connection import identity
from backup_playbook.engines.postgres.investigation import opened, what_would_run
from backup_playbook.engines.postgres.promotion import Promotion
from backup_playbook.engines.postgres.quarantine import drop_quarantine
from backup_playbook.engines.postgres.recovery_preflight import inspect_live
from tests.integration.postgres.conftest import Database
from tests.integration.postgres.lab import server_of, wait_until
from tests.integration.postgres.pair import Pair

ROLE = 'promotion\'s "reader"'


def test_what_belongs_to_the_name_is_carried_over(pair: Pair) -> None:
    role = psycopg.sql.Identifier(ROLE).as_string(None)
    with pair.server.connect() as session:
        session.execute(f"DROP ROLE IF EXISTS {role}")
        session.execute(f"CREATE ROLE {role}")
        try:
            for statement in (
                f"ALTER DATABASE {pair.live} OWNER TO {role}",
                f"REVOKE ALL ON DATABASE {pair.live} FROM PUBLIC",
                f"GRANT CONNECT ON DATABASE {pair.live} TO pg_monitor WITH GRANT OPTION",
                f"SET ROLE pg_monitor; GRANT CONNECT ON DATABASE {pair.live} TO pg_read_all_stats WITH GRANT OPTION",
                f"SET ROLE pg_read_all_stats; GRANT CONNECT ON DATABASE {pair.live} TO pg_signal_backend; RESET ROLE",
                f"ALTER DATABASE {pair.live} CONNECTION LIMIT 42",
                f"ALTER DATABASE {pair.live} SET search_path = 'a b', public",
                f"ALTER ROLE {role} IN DATABASE {pair.live} SET work_mem = '7MB'",
                f"COMMENT ON DATABASE {pair.live} IS 'it''s the shop'",
                f"GRANT CREATE ON DATABASE {pair.candidate} TO pg_read_all_stats",
                f"ALTER DATABASE {pair.candidate} SET work_mem = '9MB'",
            ):
                session.execute(statement)
            before = pair.properties()
            inspect_live(server_of(pair.server.dsn()), pair.live, 0)
            pair.promotion().run()
            assert pair.properties() == before
        finally:
            pair.server.drop_database(pair.quarantine)
            pair.server.drop_database(pair.live)
            session.execute(f"DROP ROLE {role}")


def test_defaults_are_carried_over(pair: Pair) -> None:
    with pair.server.connect() as session:
        session.execute(f"REVOKE ALL ON DATABASE {pair.candidate} FROM PUBLIC")
    before = pair.properties()
    pair.promotion().run()
    assert pair.properties() == before


class _DiesError(BaseException):
    """The worker is gone: nothing of ours runs any more."""


def test_killed_between_any_two_statements(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time: the live name leads to the old or the new database, and another try brings the new one, or the old
    one back."""
    made = pair.promotion()
    seen = set()
    for allowed in range(100):
        ran = die_after(made, monkeypatch, allowed)
        with pair.server.connect() as session:
            state = made.state(session)
        seen.add(state)
        assert made.reopen() == state
        assert pair.note() == ("new" if state == "promoted" else "old")
        if ran <= allowed:
            break
        made.run()
        assert pair.note() == "new"
        swap_back(pair, made)
        assert pair.note() == "old"
    assert seen == {"before", "closed", "promoted"}
    assert allowed > 10


def die_after(made: Promotion, monkeypatch: pytest.MonkeyPatch, allowed: int) -> int:
    """Run a promotion whose worker dies at its statement number `allowed`; returns how many it had."""
    count = 0

    class Counting(Connection[Any]):
        def execute(self, *arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count > allowed:
                self.close()  # the server rolls back what was not committed
                raise _DiesError
            return super().execute(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg, "connect", Counting.connect)
        with contextlib.suppress(_DiesError):
            made.run()
    return count


def swap_back(pair: Pair, made: Promotion) -> None:
    """As it was before, for the next round."""
    with pair.server.connect() as session:
        session.execute(f"ALTER DATABASE {pair.live} RENAME TO {pair.candidate}")
        session.execute(f"ALTER DATABASE {pair.quarantine} RENAME TO {pair.live}")
        session.execute(f"ALTER DATABASE {pair.live} ALLOW_CONNECTIONS true")
        session.execute(f"COMMENT ON DATABASE {pair.live} IS NULL")
    with pair.server.connect() as session:
        assert made.state(session) == "before"


def test_clients_that_reconnect_in_a_tight_loop_lose(pair: Pair) -> None:
    """20 of them write; every commit that they were told of is in the quarantine or in the new database."""
    with pair.server.connect(pair.live) as session:
        session.execute("CREATE TABLE written (client int, number int)")
    with pair.server.connect(pair.candidate) as session:
        session.execute("CREATE TABLE written (client int, number int)")
    stop, committed, failures = threading.Event(), [], []

    def client(me: int) -> None:
        number = 0
        while not stop.is_set():
            try:
                with psycopg.connect(pair.server.dsn(pair.live), autocommit=True) as session:
                    while not stop.is_set():
                        number += 1
                        session.execute("INSERT INTO written VALUES (%s, %s)", [me, number])
                        committed.append((me, number))
            except psycopg.OperationalError as error:
                failures.append(str(error))

    clients = [threading.Thread(target=client, args=[number]) for number in range(20)]
    for thread in clients:
        thread.start()
    wait_until(lambda: len({me for me, _ in committed}) == 20)
    promoted = pair.promotion().run()
    before = len(committed)
    wait_until(lambda: len(committed) > before + 100)
    stop.set()
    for thread in clients:
        thread.join()
    with pair.server.connect() as session:
        session.execute(f"ALTER DATABASE {pair.quarantine} ALLOW_CONNECTIONS true")
    found = set()
    for name in (pair.live, pair.quarantine):
        with pair.server.connect(name) as session:
            found |= set(session.execute("SELECT client, number FROM written").fetchall())
    assert set(committed) <= found
    assert pair.note() == "new"
    assert promoted.sessions_ended >= 20
    assert promoted.unreachable_seconds < 2


def test_a_session_that_cannot_be_ended(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Promotion, "_terminate", lambda *_: None)
    with psycopg.connect(pair.server.dsn(pair.live), application_name="the reluctant") as session:
        with pytest.raises(RestoreError) as caught:
            pair.promotion(drain_seconds=0.2).run()
        assert session.execute("SELECT v FROM notes").fetchone() == ("old",)
    assert "the reluctant" in caught.value.what
    assert "accepts connections again" in caught.value.remedy
    assert pair.note() == "old"


def test_the_rename_fails(pair: Pair) -> None:
    made = pair.promotion()
    taken = replace(made, swap=replace(made.swap, quarantine="x" * 70))  # two names that Postgres makes one
    pair.server.create_database("x" * 63)
    try:
        with pytest.raises(RestoreError, match=r"already exists[\s\S]*It is as it was, and accepts connections"):
            taken.run()
    finally:
        pair.server.drop_database("x" * 63)
    assert pair.note() == "old"


def test_two_at_once(pair: Pair) -> None:
    made = pair.promotion()
    with made._connect(), pytest.raises(RestoreError, match="Another recovery replaces"):
        made.run()
    assert pair.note() == "old"


def test_what_was_replaced_meanwhile_is_not_touched(pair: Pair, database: Database) -> None:
    first, second = pair.promotion(), pair.promotion()
    other = database()
    first.run()
    with pytest.raises(GuardError, match="another recovery, or a person"):
        replace(second, swap=replace(second.swap, candidate=other)).run()
    assert pair.note() == "new"


def test_what_is_production_is_not_released(pair: Pair) -> None:
    pair.promotion().run()
    server = server_of(pair.server.dsn())
    for name in (pair.live, "postgres"):
        with pytest.raises(GuardError):
            drop_quarantine(server, "shop", name, tuple)
    with pair.server.connect() as session:
        protected = identity(session, pair.quarantine)
    assert protected
    with pytest.raises(GuardError, match="is the production database"):
        drop_quarantine(server, "shop", pair.quarantine, lambda: [protected])


def test_release_of_one_with_subscriptions(pair: Pair) -> None:
    """They sleep while it is closed; what looks into it asks before it wakes them."""
    with pair.server.connect(pair.live) as session:
        for name in ("awake", "asleep"):
            session.execute(
                f"CREATE SUBSCRIPTION {name} CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)"
            )
        session.execute("ALTER SUBSCRIPTION awake ENABLE")
    pair.promotion().run()
    server = server_of(pair.server.dsn())
    assert what_would_run(server, pair.quarantine) == ["awake"]
    assert what_would_run(server, pair.live) == []
    drop_quarantine(server, "shop", pair.quarantine, tuple)
    with pair.server.connect() as session:
        assert identity(session, pair.quarantine) is None


def test_release_of_one_that_is_held(pair: Pair) -> None:
    pair.promotion().run()
    server = server_of(pair.server.dsn())
    with (
        opened(server, pair.quarantine),
        pair.server.connect(pair.quarantine),
        pytest.raises(RestoreError, match="is being accessed by other users") as caught,
    ):
        drop_quarantine(server, "shop", pair.quarantine, tuple)
    assert "clear this task" in caught.value.remedy
