"""The rows of some tables only: what comes, what is left out and said so, and what is read for it."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from backup_playbook.core.errors import RestoreError, UnequalError
from backup_playbook.core.model import Manifest
from backup_playbook.engines.postgres.partial import Part, read_part
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.repository.objects import BackupReader
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database, MakeScratch
from tests.integration.postgres.lab import FIXTURES, SMALL_CHUNKS, Lab, load_sql, source_of

SHOP = """
CREATE SCHEMA "b i";
CREATE TABLE users (id int PRIMARY KEY, referred_by int REFERENCES users);
CREATE TABLE "order s" (id int PRIMARY KEY, user_id int REFERENCES users, filler text);
CREATE TABLE items (order_id int CONSTRAINT of_order REFERENCES "order s", user_id int CONSTRAINT of_user REFERENCES users);
CREATE TABLE nobody (id int PRIMARY KEY);
CREATE TABLE views (id int, at int, user_id int REFERENCES users, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE views_1 PARTITION OF views FOR VALUES FROM (0) TO (10);
CREATE TABLE views_2 PARTITION OF views FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id);
CREATE TABLE "b i".views_3 PARTITION OF views_2 FOR VALUES FROM (0) TO (100000);
CREATE TABLE clicks (id int, at int, nobody int REFERENCES nobody, CONSTRAINT of_view FOREIGN KEY (id, at) REFERENCES views);
INSERT INTO users SELECT i, nullif(i - 1, 0) FROM generate_series(1, 50) i;
INSERT INTO "order s" SELECT i, 1 + i % 50, repeat('x', i % 300) FROM generate_series(1, 9000) i;
INSERT INTO items SELECT i, 1 FROM generate_series(1, 40) i;
INSERT INTO views SELECT i, i % 20, 1 FROM generate_series(1, 60) i;
INSERT INTO clicks SELECT id, at FROM views;
CREATE MATERIALIZED VIEW totals AS SELECT user_id, count(*) FROM "order s" GROUP BY 1;
CREATE UNIQUE INDEX ON totals (user_id);
CREATE SEQUENCE numbers; SELECT setval('numbers', 42);
SELECT lo_from_bytea(0, 'an image');
"""  # noqa: E501
EMPTY = {"users": 0, "order s": 0, "items": 0, "views": 0, "clicks": 0}
PartOf = Callable[..., Part]


@pytest.fixture
def shop(lab: Lab, postgres18: PostgresServer, database: Database) -> Manifest:
    """`order s` travels in chunks, all others in packs."""
    name = database()
    with postgres18.connect(name) as session:
        session.execute(SHOP.encode())
    manifest = lab.backup(source_of(postgres18.dsn(name), chunk_bytes=128 << 10))
    [orders] = [table for table in manifest.tables if table.name == "order s"]
    assert len(orders.parts) > 1
    return manifest


@pytest.fixture
def part_of(lab: Lab, shop: Manifest) -> PartOf:
    return lambda *only: read_part(lab.reader(shop), only)


def restored(lab: Lab, manifest: Manifest, target: ScratchDatabase) -> dict[str, int]:
    """Proven, too. Returns how many rows there are."""
    lab.restore_into(target, manifest)
    lab.prove(target, manifest)
    with target.server.connect() as session:
        return {name: session.execute(f'SELECT count(*) FROM "{name}"'.encode()).fetchall()[0][0] for name in EMPTY}


def foreign_keys(target: ScratchDatabase) -> set[str]:
    with target.server.connect() as session:
        return {name for (name,) in session.execute("SELECT conname FROM pg_constraint WHERE contype = 'f'")}


@pytest.mark.parametrize(
    ("only", "rows"),
    [
        (["public.order s"], {"order s": 9000}),
        (["public.users", "public.items"], {"users": 50, "items": 40}),
        (["public.views"], {"views": 60}),
        (["public.views_1"], {"views": 30}),
        (["b i"], {"views": 30}),
        (["public"], {"users": 50, "order s": 9000, "items": 40, "views": 60, "clicks": 60}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_rows_of_what_was_chosen(
    only: Sequence[str], rows: dict[str, int], lab: Lab, shop: Manifest, scratch: MakeScratch
) -> None:
    target = scratch(only=tuple(only))
    assert restored(lab, shop, target) == EMPTY | rows
    with target.server.connect() as session:
        assert session.execute("SELECT last_value FROM numbers").fetchall() == [(42,)]


def test_foreign_keys_that_could_not_hold_are_left_out_and_named(
    lab: Lab, shop: Manifest, scratch: MakeScratch
) -> None:
    target = scratch(only=("public.items", "public.users"))
    lab.restore_into(target, shop)
    proof = lab.prove(target, shop)
    assert "the foreign key of_order of public.items, to rows that are not restored" in proof.left_out
    assert [words for words in proof.left_out if "foreign key" in words] == [
        "the foreign key of_order of public.items, to rows that are not restored"
    ]
    assert "of_order" not in foreign_keys(target)
    assert {"of_user", "users_referred_by_fkey", "order s_user_id_fkey", "of_view"} <= foreign_keys(target)


def test_foreign_keys_of_and_to_partitioned_tables(part_of: PartOf) -> None:
    def keys(*only: str) -> set[str]:
        return {words.split()[3] for words in part_of(*only).left_out if "foreign key" in words}

    assert keys("public.clicks") == {"of_view"}
    assert keys("public.clicks", "public.views_1") == {"of_view", "views_user_id_fkey"}
    assert keys("public.clicks", "public.views") == {"views_user_id_fkey"}
    assert keys("public.clicks", "public.views", "public.users") == set()


def test_what_else_is_left_out_is_said(part_of: PartOf) -> None:
    assert part_of("public.users").left_out == (
        "the rows of 5 other tables",
        "1 large object",
        "the rows of 1 materialised view (REFRESH MATERIALIZED VIEW fills one)",
    )


def test_only_the_objects_that_are_needed_are_read(
    lab: Lab, shop: Manifest, scratch: MakeScratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    content = BackupReader.content

    def watched(self: BackupReader, item: object) -> Iterator[bytes]:
        read.add(item.name)  # type: ignore[attr-defined]
        return content(self, item)  # type: ignore[arg-type]

    monkeypatch.setattr(BackupReader, "content", watched)
    lab.restore_into(scratch(only=("public.order s",)), shop)
    held = {part.object for table in shop.tables if table.name == "order s" for part in table.parts}
    assert {name for name in read if name.startswith(("0", "pack", "large"))} == held


@pytest.mark.parametrize("only", [("public.user",), ("publik",), ("public.users", "clicks"), ("",), ("public.",)])
def test_unknown_names_are_refused_with_those_that_come_near(only: tuple[str, ...], part_of: PartOf) -> None:
    with pytest.raises(RestoreError, match="has no schema or table") as caught:
        part_of(*only)
    wanted = {"public.user": "public.users", "publik": "public", "clicks": "public.clicks"}
    assert wanted.get(only[-1], "") in caught.value.remedy


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE users SET referred_by = 2 WHERE id = 7",
        "DELETE FROM items",
        "ALTER TABLE items ADD more int",
        'ALTER TABLE "order s" DROP CONSTRAINT "order s_pkey" CASCADE',
        "SELECT setval('numbers', 43)",
        "DROP TABLE clicks",
    ],
)
def test_proof_finds_what_is_not_as_in_the_backup(
    damage: str, lab: Lab, shop: Manifest, postgres18: PostgresServer, scratch: MakeScratch
) -> None:
    target = scratch(only=("public.users", "public.items"))
    lab.restore_into(target, shop)
    with postgres18.connect(target.name) as session:
        session.execute(damage.encode())
    with pytest.raises(UnequalError):
        lab.prove(target, shop)


def test_partitions_that_take_rows_from_each_other_come_together(
    lab: Lab, postgres18: PostgresServer, database: Database, scratch: MakeScratch
) -> None:
    origin, target = database(), scratch(only=("public.paints_0",))
    load_sql(postgres18, origin, FIXTURES / "enum_hash_partitions.sql")
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    lab.restore_into(target, manifest)
    assert lab.prove(target, manifest).rows == 700


@pytest.mark.parametrize("version", ["18", "16"])
def test_one_schema_of_everything(
    version: str,
    request: pytest.FixtureRequest,
    lab: Lab,
    everything: Callable[[PostgresServer], str],
    scratch: MakeScratch,
) -> None:
    server: PostgresServer = request.getfixturevalue(f"postgres{version}")
    manifest = lab.backup(source_of(server.dsn(everything(server)), chunk_bytes=SMALL_CHUNKS))
    for namespace in sorted({table.namespace for table in manifest.tables if table.kind != "extension"}):
        target = scratch(server, only=(namespace,))
        lab.restore_into(target, manifest)
        proof = lab.prove(target, manifest)
        assert {table.namespace for table in proof.tables} >= {namespace}
