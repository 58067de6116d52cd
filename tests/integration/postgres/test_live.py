"""A live database and copies of it by the contract: what the shared suite of all engines does not ask."""

from collections.abc import Sequence

import pytest

from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.core.guards import DatabaseIdentity
from backup_playbook.core.model import Manifest
from backup_playbook.engines.contract import CopyOptions
from backup_playbook.engines.live_database import Exchange
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.live import PostgresLive
from backup_playbook.engines.postgres.scratch import ScratchServer
from embedded.postgres import PostgresServer
from tests.integration.postgres.lab import Lab, host_of, server_of, source_of
from tests.integration.postgres.pair import NOW, Pair


class Production:
    """What nobody may touch, and how often somebody asked for it."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> Sequence[DatabaseIdentity]:
        self.asked += 1
        return ()


@pytest.fixture
def manifest(lab: Lab, postgres18: PostgresServer, small: str) -> Manifest:
    return lab.backup(source_of(postgres18.dsn(small)))


def live_of(pair: Pair) -> PostgresLive:
    server = server_of(pair.server.dsn())
    return PostgresLive("shop", pair.live, server, server.at(pair.live), tuple)


def exchange(pair: Pair) -> Exchange:
    live, copy = live_of(pair), live_of(pair).side_by_side(pair.candidate)
    live_id = live.side_by_side(pair.live).identify()
    return Exchange(pair.live, live_id, pair.candidate, copy.identify(), pair.quarantine, "a run", NOW)


def test_production_is_asked_only_before_something_is_written_or_dropped(
    lab: Lab, postgres18: PostgresServer, manifest: Manifest
) -> None:
    production = Production()
    host = ScratchServer(server_of(postgres18.dsn()), production)
    copy = host.scratch(host.new_name("shop", "kept_as"), "test", CopyOptions(owners=False))
    assert copy.name.startswith("scratch_shop_")
    assert host.require_room("", 1).free
    copy.create(manifest)
    host.list_scratches()
    assert copy.ask("SELECT 1") == 1
    assert production.asked == 0
    copy.restore(lab.reader(manifest), lab.cancellation)
    assert production.asked == 1
    copy.drop()
    copy.drop()  # again: there is nothing to drop
    assert production.asked == 2


def test_kept_copy_is_told_from_a_scratch(postgres18: PostgresServer, manifest: Manifest) -> None:
    host = host_of(postgres18.dsn())
    copy = host.scratch(host.new_name("shop", ""))
    copy.create(manifest)
    name = f"kept_{copy.name}"
    assert not copy.is_kept(name)
    copy.keep(name)
    assert copy.is_kept(name)
    with pytest.raises(RestoreError, match="already"):
        host.require_room(name, 0)
    with postgres18.connect() as session:
        session.execute(PostgresEngine().undo_kept(name).encode())
    host.require_room(name, 0)


def test_query_that_writes_or_fails(postgres18: PostgresServer, manifest: Manifest) -> None:
    copy = host_of(postgres18.dsn()).scratch("postgres")
    assert copy.ask("SELECT 1 WHERE false") is None
    for query in ("CREATE TABLE t (i int)", "SELECT nothing"):
        with pytest.raises(RestoreError):
            copy.ask(query)


def test_investigation_names_what_differs(lab: Lab, pair: Pair) -> None:
    live = live_of(pair)
    live.promote(exchange(pair))
    with pair.server.connect(pair.live) as session:
        session.execute("DELETE FROM notes; CREATE TABLE more (i int)")
    found = live.investigate(pair.live, pair.quarantine, lab.cancellation)
    assert {one["table"]: (one["before"], one["after"]) for one in found.differences} == {
        "public.notes": (1, 0),
        "public.more": (None, 0),
    }
    assert found.amcheck
    assert found.log


def test_quarantine_whose_name_nobody_has(pair: Pair) -> None:
    live = live_of(pair)
    live.promote(exchange(pair))
    with pair.server.connect() as session:
        session.execute(f"ALTER DATABASE {pair.live} RENAME TO {pair.candidate}".encode())
    with pytest.raises(GuardError, match=f"there is no database {pair.live} now"):
        live.find_quarantine("newest")


def test_scope_of_a_part(lab: Lab, manifest: Manifest) -> None:
    engine, reader = PostgresEngine(), lab.reader(manifest)
    whole = engine.scope(reader, CopyOptions())
    assert len(whole.tables) == len(manifest.tables)
    assert (whole.rows, whole.content_bytes) == (manifest.rows, manifest.content_bytes)
    one = engine.scope(reader, CopyOptions(only=whole.tables[:1]))
    assert (list(one.tables), list(one.only)) == (whole.tables[:1], whole.tables[:1])
    assert engine.summary(manifest).startswith(f"{len(manifest.tables)} table")
    with pytest.raises(RestoreError):
        engine.scope(reader, CopyOptions(only=["nothing"]))
