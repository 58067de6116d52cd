"""Deleted rows come back as they were, with all that went along, and nothing else changes."""

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backup_playbook.core.errors import RepositoryError
from backup_playbook.core.row_recovery import OnConflict, Preview, RecoveredRows, RowRecoveryError
from backup_playbook.engines.postgres.row_import import import_rows, preview_rows, remaining_rows
from backup_playbook.engines.postgres.row_recovery import load_rows, wanted_rows
from backup_playbook.engines.postgres.row_search import READS
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from embedded.postgres import PostgresServer
from include.sample import check, load
from tests.integration.postgres.conftest import Database, MakeScratch
from tests.integration.postgres.lab import Lab, dump_text, server_of, source_of

CHUNKS = 128 << 10


class Incident:
    """A database, its backup, and what is done to get rows back."""

    def __init__(self, lab: Lab, server: PostgresServer, name: str, scratch: MakeScratch, tmp_path: Path) -> None:
        self.lab, self.server, self.name, self._scratch = lab, server, name, scratch
        self.undo_file = tmp_path / "undo.sql"
        self.live = server_of(server.dsn(name))
        self.manifest = lab.backup(source_of(server.dsn(name), chunk_bytes=CHUNKS))
        self.before = self.dump()

    def dump(self) -> list[str]:
        return sorted(dump_text(self.server, self.name, "--data-only"))

    def do(self, command: str) -> None:
        with self.server.connect(self.name) as session:
            session.execute(command.encode())

    def ask(self, query: str) -> list[Any]:
        with self.server.connect(self.name) as session:
            return session.execute(query.encode()).fetchall()

    def find(self, table: str, *keys: str, where: str = "", children: bool = True) -> ScratchDatabase:
        target = self._scratch(self.server)
        target.create(self.manifest)
        wanted = wanted_rows(self.live, table, keys, where, children=children)
        load_rows(target, self.lab.reader(self.manifest), wanted, self.lab.cancellation)
        self.found = target
        return target

    def preview(self, on_conflict: OnConflict = "stop") -> Preview:
        return preview_rows(self.live, self.found.server, on_conflict)

    def bring_back(self, on_conflict: OnConflict = "stop", *, fire_triggers: bool = False) -> RecoveredRows:
        preview = self.preview(on_conflict)
        return import_rows(
            self.live, self.found.server, preview, on_conflict, fire_triggers=fire_triggers, keep_undo=self._keep
        )

    def undo(self) -> None:
        argv = [self.server.bin_dir / "psql", "-X", "-q", "-d", self.server.dsn(self.name), "-f", self.undo_file]
        subprocess.run(argv, check=True, capture_output=True)

    def _keep(self, script: bytes) -> str:
        self.undo_file.write_bytes(script)
        return str(self.undo_file)


Open = Callable[..., Incident]


@pytest.fixture
def incident(lab: Lab, postgres18: PostgresServer, database: Database, scratch: MakeScratch, tmp_path: Path) -> Open:
    """`incident(sql)`: a database made by it, and its backup."""

    def make(definitions: str = "") -> Incident:
        name = database()
        with postgres18.connect(name) as session:
            session.execute(definitions.encode())
        return Incident(lab, postgres18, name, scratch, tmp_path)

    return make


@pytest.fixture
def shop(lab: Lab, postgres18: PostgresServer, database: Database, scratch: MakeScratch, tmp_path: Path) -> Incident:
    name = database()
    load(postgres18.dsn(name), 0.01)
    return Incident(lab, postgres18, name, scratch, tmp_path)


def test_user_comes_back_with_all_that_went_along(shop: Incident) -> None:
    """Tables of each kind: packed, streamed, chunked; a circle of foreign keys, generated columns, triggers."""
    shop.do("UPDATE users SET referred_by = NULL WHERE referred_by = 5; DELETE FROM reviews WHERE user_id = 5")
    for table in ("users", "orders", "order_items"):
        shop.do(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    before = shop.dump()
    shop.do("DELETE FROM users WHERE id = 5")
    gone = shop.dump()
    for table in ("users", "orders", "order_items"):
        shop.do(f"ALTER TABLE {table} ENABLE TRIGGER USER")

    shop.find("users", "5")
    recovered = shop.bring_back()

    assert difference(shop.dump(), before) == set()
    assert recovered.inserted["public.users"] == 1
    assert sum(recovered.inserted.values()) > 10
    assert shop.ask("SELECT count(*) FROM pg_trigger WHERE tgenabled <> 'O'") == [(0,)]
    assert states(remaining_rows(shop.live, shop.found.server)) == {"equal"}
    shop.undo()
    assert difference(shop.dump(), gone) == set()
    shop.bring_back()
    assert all(result.ok for result in check(shop.server.dsn(shop.name)))


HIERARCHY = """
CREATE TABLE node (id int PRIMARY KEY, up int REFERENCES node ON DELETE CASCADE, name text);
INSERT INTO node SELECT i, nullif(i / 2, 0), 'n' || i FROM generate_series(1, 20000) i;
"""
CHAIN = """
CREATE TABLE link (id int PRIMARY KEY, before int REFERENCES link ON DELETE CASCADE, filler text,
                   label text GENERATED ALWAYS AS ('n' || id) STORED);
INSERT INTO link SELECT i, nullif(i - 1, 0), repeat('z', 100) FROM generate_series(1, 3000) i;
"""
CIRCLE = """
CREATE TABLE a (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), b text NOT NULL, filler text);
CREATE TABLE b (code text PRIMARY KEY, a uuid NOT NULL REFERENCES a ON DELETE CASCADE);
INSERT INTO a SELECT md5(i::text)::uuid, 'code ' || i, repeat('x', 100) FROM generate_series(1, 3000) i;
INSERT INTO b SELECT b, id FROM a;
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b ON DELETE CASCADE;
"""
COMPOSITE = """
CREATE TABLE doc (tenant text, number int, body text, PRIMARY KEY (tenant, number));
CREATE TABLE line (tenant text, doc int, pos smallint, v numeric, PRIMARY KEY (tenant, doc, pos),
                   FOREIGN KEY (tenant, doc) REFERENCES doc ON DELETE CASCADE);
INSERT INTO doc SELECT 'te''n\\ant ' || i % 10, i, repeat('y', 50) FROM generate_series(1, 9000) i;
INSERT INTO line SELECT tenant, number, p, random() FROM doc, generate_series(1, 3) p;
"""
PARTITIONED = """
CREATE TABLE event (id bigint GENERATED BY DEFAULT AS IDENTITY, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE event_2 PARTITION OF event DEFAULT;
CREATE TABLE detail (event bigint, at date, n int PRIMARY KEY,
                     FOREIGN KEY (event, at) REFERENCES event ON DELETE CASCADE);
INSERT INTO event (at) SELECT date '2026-01-01' + i % 365 FROM generate_series(1, 9000) i;
INSERT INTO detail SELECT id, at, id FROM event;
"""
INHERITED = """
CREATE TABLE vehicle (id int PRIMARY KEY, name text);
CREATE TABLE truck (load int, PRIMARY KEY (id)) INHERITS (vehicle);
INSERT INTO vehicle SELECT i, 'v' || i FROM generate_series(1, 100) i;
INSERT INTO truck SELECT i, 't' || i, i FROM generate_series(101, 200) i;
"""


@pytest.mark.parametrize(
    ("definitions", "table", "keys", "where", "delete"),
    [
        (HIERARCHY, "node", ("3",), "", "DELETE FROM node WHERE id = 3"),
        (HIERARCHY, "public.node", (), "id IN (3, 8) -- two", "DELETE FROM node WHERE id IN (3, 8)"),
        (CHAIN, "link", ("2000",), "", "DELETE FROM link WHERE id = 2000"),
        (CHAIN, "link", (), "label = 'n2990'", "DELETE FROM link WHERE id = 2990"),
        (CIRCLE, "b", ("code 17",), "", "DELETE FROM b WHERE code = 'code 17'"),
        (CIRCLE, "a", ("{70EFDF2EC9B086079795C442636B55FB}",), "", "DELETE FROM b WHERE code = 'code 17'"),
        (COMPOSITE, "doc", ('["te\'n\\\\ant 7", 17]',), "", "DELETE FROM doc WHERE number = 17"),
        (COMPOSITE, "doc", (), "doc.number < 2000", "DELETE FROM doc WHERE number < 2000"),
        (PARTITIONED, "event", (), "id % 7 = 0", "DELETE FROM event WHERE id % 7 = 0"),
        (PARTITIONED, "event_1", (), "id < 50", "DELETE FROM event WHERE id < 50"),
        (INHERITED, "vehicle", (), "id BETWEEN 99 AND 102", "DELETE FROM vehicle WHERE id BETWEEN 99 AND 102"),
    ],
)
def test_shapes(incident: Open, definitions: str, table: str, keys: tuple[str, ...], where: str, delete: str) -> None:
    lost = incident(definitions)
    lost.do(delete)
    gone = lost.dump()
    assert gone != lost.before

    lost.find(table, *keys, where=where)
    lost.bring_back()

    assert difference(lost.dump(), lost.before) == set()
    lost.undo()
    assert difference(lost.dump(), gone) == set()


def test_rows_that_only_refer_to_each_other_in_a_circle_are_read_a_few_times(incident: Open) -> None:
    lost = incident(CHAIN)
    store, read = type(lost.lab.store), []
    original = store.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "read", lambda self, key: read.append(key) or original(self, key))
        lost.find("link", "1500")
    chunks = [key for key in read if key.startswith("objects/") and "link" in key]
    assert len(lost.manifest.tables[0].parts) > 1
    assert max(Counter(chunks).values()) <= 1 + READS


def difference(one: list[str], other: list[str]) -> set[tuple[str, int]]:
    return set(Counter(one).items()) ^ set(Counter(other).items())


def states(counts: dict[str, dict[Any, int]]) -> set[str]:
    return {state for item in counts.values() for state in item}


TWO = """
CREATE TABLE p (id int PRIMARY KEY, name text UNIQUE);
CREATE TABLE c (id serial PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE, v text);
INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 9) i;
INSERT INTO c (p, v) SELECT id, 'c' FROM p;
"""


@pytest.mark.parametrize(
    ("change", "kind", "skipped"),
    [
        ("INSERT INTO p VALUES (3, 'somebody else')", "key reused", {"public.p": 0, "public.c": 1}),
        ("INSERT INTO p VALUES (33, 'p3')", "unique value taken", None),
        (
            "ALTER TABLE p ADD colour text NOT NULL DEFAULT ''; ALTER TABLE p ALTER colour DROP DEFAULT",
            "column added",
            None,
        ),
        ("ALTER TABLE c DROP v", "column dropped", {"public.p": 1, "public.c": 1}),
        ("ALTER TABLE c ALTER v TYPE varchar(9)", "column retyped", {"public.p": 1, "public.c": 1}),
        ("ALTER TABLE c DROP CONSTRAINT c_pkey", "no primary key", None),
    ],
)
def test_conflicts_are_named_and_nothing_is_touched(
    incident: Open, change: str, kind: str, skipped: dict[str, int] | None
) -> None:
    lost = incident(TWO)
    lost.do(f"DELETE FROM p WHERE id = 3; {change}")
    before = lost.dump()
    lost.find("p", "3")
    with pytest.raises(RowRecoveryError, match=kind):
        lost.bring_back()
    assert lost.dump() == before
    if skipped is None:
        with pytest.raises(RowRecoveryError):
            lost.bring_back("skip")
        assert lost.dump() == before
    else:
        assert lost.bring_back("skip").inserted == skipped


def test_parent_that_is_gone_is_named(incident: Open) -> None:
    lost = incident(TWO)
    lost.do("DELETE FROM p WHERE id = 3")
    lost.find("c", where="p = 3")
    [conflict] = lost.preview().conflicts
    assert (conflict.kind, "id=3" in conflict.what or "p=3" in conflict.what) == ("parent gone", True)


def test_overwrite_replaces_what_the_preview_showed_and_can_be_undone(incident: Open) -> None:
    lost = incident(TWO)
    lost.do("UPDATE p SET name = 'wrong' WHERE id = 3; DELETE FROM c WHERE p = 3")
    wrong = lost.dump()
    lost.find("p", "3")
    recovered = lost.bring_back("overwrite")
    assert (recovered.inserted, recovered.overwritten["public.p"]) == ({"public.p": 0, "public.c": 1}, 1)
    assert difference(lost.dump(), lost.before) == set()
    lost.undo()
    assert difference(lost.dump(), wrong) == set()


def test_import_refuses_what_the_preview_did_not_show(incident: Open) -> None:
    lost = incident(TWO)
    lost.do("DELETE FROM p WHERE id IN (3, 4)")
    lost.find("p", "3", "4")
    seen = lost.preview("skip")
    lost.do("INSERT INTO p VALUES (4, 'came back by itself')")
    with pytest.raises(RowRecoveryError, match="has changed since the preview"):
        import_rows(lost.live, lost.found.server, seen, "skip", fire_triggers=False, keep_undo=lost._keep)
    assert lost.ask("SELECT count(*) FROM p WHERE id = 3") == [(0,)]


def test_undo_leaves_what_has_changed_since_and_what_it_needs(incident: Open) -> None:
    lost = incident(TWO)
    lost.do("DELETE FROM p WHERE id IN (3, 4, 5)")
    lost.find("p", "3", "4", "5")
    lost.bring_back()
    lost.do("INSERT INTO c (p, v) VALUES (3, 'new'); UPDATE p SET name = 'changed' WHERE id = 4")
    lost.undo()
    assert lost.ask("SELECT id FROM p WHERE id IN (3, 4, 5) ORDER BY 1") == [(3,), (4,)]
    assert lost.ask("SELECT p, v FROM c WHERE p IN (3, 4, 5)") == [(3, "new")]


def test_sequences_move_forward_when_they_have_to(incident: Open) -> None:
    lost = incident(TWO)
    lost.do("DELETE FROM p WHERE id = 9; SELECT setval('c_id_seq', 4)")
    lost.find("p", "9")
    assert lost.bring_back().sequences == ("public.c_id_seq",)
    assert lost.ask("SELECT nextval('c_id_seq')") == [(10,)]


def test_undo_that_cannot_be_stored_stops_the_import(incident: Open) -> None:
    lost = incident(TWO)
    lost.do("DELETE FROM p WHERE id = 3")
    lost.find("p", "3")

    def fail(script: bytes) -> str:
        raise RepositoryError("The bucket is gone.", "Look for it.")

    with pytest.raises(RepositoryError):
        import_rows(lost.live, lost.found.server, lost.preview(), "stop", fire_triggers=False, keep_undo=fail)
    assert lost.ask("SELECT count(*) FROM p WHERE id = 3") == [(0,)]


@pytest.mark.parametrize(
    ("table", "keys", "where", "message"),
    [
        ("measurement", ("1",), "", "no table 'measurement'"),
        ("notes", ("1",), "", "public.notes has no primary key"),
        ("measurements", ("one",), "", "A key does not fit public.measurements: invalid input syntax"),
        ("measurements", (), "", "names none"),
        ("measurements", ("1",), "id = 1", "names keys and a condition"),
        ("measurements", (), "nonsense = 1", "The condition does not fit public.measurements"),
        ("measurements", (), "true); DROP TABLE notes; --", "The condition does not fit"),
    ],
)
def test_form_that_makes_no_sense(
    small: str, postgres18: PostgresServer, table: str, keys: tuple[str, ...], where: str, message: str
) -> None:
    with pytest.raises(RowRecoveryError) as caught:
        wanted_rows(server_of(postgres18.dsn(small)), table, keys, where)
    assert message in caught.value.what


def test_rows_that_are_not_in_the_backup(incident: Open) -> None:
    lost = incident(TWO)
    with pytest.raises(RowRecoveryError, match="None of the rows is in the backup"):
        lost.find("p", "77")


def test_hundred_thousand_rows(incident: Open) -> None:
    lost = incident(
        "CREATE TABLE t (id int PRIMARY KEY, v text);\n"
        "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 150000) i"
    )
    lost.do("DELETE FROM t WHERE id > 50000")
    lost.find("t", *map(str, range(50001, 150001)))
    assert lost.bring_back().inserted == {"public.t": 100_000}
    assert difference(lost.dump(), lost.before) == set()
