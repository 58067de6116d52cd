"""What makes a complete backup impossible is said before anything is copied, with what to do about it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup_playbook.core.errors import SourceError
from backup_playbook.engines.postgres.inventory import Table
from backup_playbook.engines.postgres.snapshot import ATTEMPTS, Snapshot, require_supported
from embedded.postgres import PostgresServer
from embedded.processes import choose_port
from tests.integration.postgres.conftest import Database, MakeScratch
from tests.integration.postgres.lab import Lab, source_of

Role = Callable[..., str]


@pytest.fixture
def role(postgres18: PostgresServer) -> Iterator[Role]:
    """Makes an ordinary role with the given grants; returns how to connect as it."""
    made: list[str] = []

    def make(database: str, *grants: str) -> str:
        name = f"role_of_{database}"
        made.append(name)
        with postgres18.connect(database) as session:
            session.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
            for grant in grants:
                session.execute(f"GRANT {grant} TO {name}")
        return postgres18.dsn(database, user=name, password="secret")

    yield make
    with postgres18.connect() as session:
        for name in made:
            session.execute(f"DROP ROLE {name}")


@pytest.fixture
def filled(postgres18: PostgresServer, database: Callable[..., str]) -> str:
    name = database()
    with postgres18.connect(name) as session:
        session.execute("CREATE TABLE first (id int PRIMARY KEY, v text)")
        session.execute("CREATE TABLE second (id serial, v text)")
        session.execute("INSERT INTO first SELECT i, 'row' FROM generate_series(1, 10) i")
    return name


def test_the_server_is_down(lab: Lab) -> None:
    error = lab.refused(source_of(f"host=127.0.0.1 port={choose_port()} dbname=shop user=backup"))
    assert "Cannot connect to shop at 127.0.0.1:" in error.what
    assert "Connection refused" in error.what
    assert "Check that the server is up" in error.remedy


def test_a_wrong_password(lab: Lab, postgres18: PostgresServer, filled: str) -> None:
    error = lab.refused(source_of(postgres18.dsn(filled, password="wrong-secret")))
    assert "password authentication failed" in error.what
    assert "Correct login and password in the Airflow connection" in error.remedy
    assert "wrong-secret" not in str(error)


def test_an_unknown_database(lab: Lab, postgres18: PostgresServer) -> None:
    error = lab.refused(source_of(postgres18.dsn("nowhere")))
    assert 'database "nowhere" does not exist' in error.what
    assert "Correct the database" in error.remedy


def test_a_connection_option_that_libpq_does_not_know(lab: Lab, postgres18: PostgresServer, filled: str) -> None:
    source = source_of(postgres18.dsn(filled))
    source.server.keywords["sslmode"] = "sometimes"  # type: ignore[index]
    error = lab.refused(source)
    assert 'invalid sslmode value: "sometimes"' in error.what


def test_missing_grants_are_named(lab: Lab, filled: str, role: Role) -> None:
    dsn = role(filled)
    error = lab.refused(source_of(dsn))
    assert "may not read" in error.what
    assert "public.first" in error.what
    assert "public.second" in error.what
    assert f'GRANT pg_read_all_data TO "role_of_{filled}"' in error.remedy


def test_a_missing_grant_on_a_sequence(lab: Lab, postgres18: PostgresServer, filled: str, role: Role) -> None:
    dsn = role(filled, "SELECT ON first, second")
    error = lab.refused(source_of(dsn))
    assert "may not read the table or sequence public.second_id_seq" in error.what
    with postgres18.connect(filled) as session:
        session.execute(f"DROP OWNED BY role_of_{filled}")


def test_row_level_security_that_would_hide_rows(lab: Lab, postgres18: PostgresServer, filled: str, role: Role) -> None:
    dsn = role(filled, "pg_read_all_data")
    with postgres18.connect(filled) as session:
        session.execute("ALTER TABLE first ENABLE ROW LEVEL SECURITY")
    error = lab.refused(source_of(dsn))
    assert "Row-level security would hide rows" in error.what
    assert "the table public.first" in error.what
    assert "BYPASSRLS" in error.remedy
    with postgres18.connect(filled) as session:
        session.execute(f"ALTER ROLE role_of_{filled} BYPASSRLS")
    assert lab.backup(source_of(dsn)).rows == 10


def test_a_large_object_that_the_role_may_not_read(
    lab: Lab, postgres18: PostgresServer, filled: str, role: Role
) -> None:
    dsn = role(filled, "pg_read_all_data")
    with postgres18.connect(filled) as session:
        session.execute("SELECT lo_from_bytea(4711, 'closed'), lo_from_bytea(4712, 'open')")
        session.execute("GRANT SELECT ON LARGE OBJECT 4712 TO PUBLIC")
    error = lab.refused(source_of(dsn))
    assert "may not read the large object 4711." in error.what
    assert "lo_compat_privileges" in error.remedy
    with postgres18.connect(filled) as session:
        session.execute(f"ALTER ROLE role_of_{filled} SET lo_compat_privileges = on")
    assert lab.backup(source_of(dsn)).details["large_objects"] == 2


@pytest.mark.faults
def test_a_server_that_reads_on_over_damaged_pages(lab: Lab, postgres18: PostgresServer, filled: str) -> None:
    """Rows on such pages would be missing from the backup, and nothing would say so."""
    with postgres18.connect() as session:
        session.execute(f"ALTER DATABASE {filled} SET zero_damaged_pages = on")
    error = lab.refused(source_of(postgres18.dsn(filled)))
    assert "zero_damaged_pages is on" in error.what
    assert "switch it off" in error.remedy


def test_a_damaged_page(lab: Lab, tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "server").start()
    try:
        with server.connect() as session:
            session.execute("CREATE TABLE t AS SELECT repeat('x', 500) AS v FROM generate_series(1, 5000)")
            session.execute("CHECKPOINT")
            ((file,),) = session.execute("SELECT pg_relation_filepath('t')").fetchall()
        server.stop()
        with (server.data / file).open("r+b") as pages:
            pages.seek(3 * 8192)
            pages.write(b"\xff" * 200)
        server.start()
        error = lab.refused(source_of(server.dsn()))
        assert "invalid page" in error.what
        assert "recover_corrupted_database" in error.remedy
    finally:
        server.remove()


def test_a_table_that_a_migration_keeps_locked(lab: Lab, postgres18: PostgresServer, filled: str) -> None:
    with postgres18.connect(filled) as migration, migration.transaction():
        migration.execute("ALTER TABLE first ADD COLUMN more int")
        error = lab.refused(source_of(postgres18.dsn(filled), lock_timeout_seconds=0.2))
        pid = migration.info.backend_pid
    assert "stayed locked for 0.2 s" in error.what
    assert f"public.first by pid {pid} (postgres): ALTER TABLE first ADD COLUMN more int" in error.what
    assert "pg_terminate_backend" in error.remedy


def test_what_keeps_a_backup_from_its_locks(lab: Lab, tmp_path: Path) -> None:
    """A prepared transaction, which no process has; and a server without room for as many as there are tables."""
    few = {"max_prepared_transactions": "1", "max_locks_per_transaction": "10", "max_connections": "20"}
    server = PostgresServer(tmp_path / "server", settings=few).start()
    try:
        with server.connect() as session:
            session.execute("CREATE TABLE first (id int)")
            session.execute("BEGIN")
            session.execute("ALTER TABLE first ADD COLUMN more int")
            session.execute("PREPARE TRANSACTION 'it''s 1'")
            error = lab.refused(source_of(server.dsn(), lock_timeout_seconds=0.2))
            assert "public.first by a prepared transaction of postgres" in error.what
            assert "ROLLBACK PREPARED 'it''s 1'" in error.what
            session.execute("ROLLBACK PREPARED 'it''s 1'")
            for start in range(0, 4000, 100):  # a CREATE TABLE needs locks, too
                session.execute(
                    f"DO $$ BEGIN FOR i IN {start}..{start + 99} LOOP EXECUTE 'CREATE TABLE t' || i || ' ()'; "
                    "END LOOP; END $$"
                )
        error = lab.refused(source_of(server.dsn()))
        assert "no room for locks on 4001 tables" in error.what
        assert "max_locks_per_transaction" in error.remedy
    finally:
        server.remove()


def test_a_row_that_copy_cannot_print(
    lab: Lab, postgres18: PostgresServer, database: Database, scratch: MakeScratch
) -> None:
    """Of 600 MB as bytea, and 1.2 GB as text. All else can be backed up, and the backup says what it lacks."""
    name = database()
    with postgres18.connect(name) as session:
        session.execute("CREATE TABLE huge (a int, b text, v bytea, PRIMARY KEY (a, b))")
        session.execute("INSERT INTO huge SELECT i, 'x' || i, 'small' FROM generate_series(1, 2) i")
        session.execute("INSERT INTO huge VALUES (3, 'ü', repeat(repeat('x', 1000), 600000)::bytea)")
        session.execute("CREATE TABLE rest (i int, j text, CONSTRAINT to_huge FOREIGN KEY (i, j) REFERENCES huge)")
        session.execute("INSERT INTO rest VALUES (1, 'x1'); COMMENT ON CONSTRAINT to_huge ON rest IS 'of both'")
    error = lab.refused(source_of(postgres18.dsn(name)))
    assert "a row that COPY cannot print, nor could pg_dump: public.huge (a 3 b ü)" in error.what
    assert "1 GB" in error.what
    manifest, target = lab.backup(source_of(postgres18.dsn(name), without_rows=("public.huge",))), scratch()
    lab.verify(manifest)
    lab.restore_into(target, manifest)
    proof = lab.prove(target, manifest)
    assert [table.name for table in proof.tables] == ["rest"]
    assert "the rows of public.huge (`without_rows` of the source)" in proof.left_out
    assert "the foreign key to_huge of public.rest, to rows that are not restored" in proof.left_out


MIGRATIONS = {
    "drops a table": ("DROP TABLE second", {"public.first": 10}),
    "drops a schema": ("DROP SCHEMA public CASCADE", {}),
    "creates a table": (
        "CREATE TABLE third AS SELECT 1 AS one",
        {"public.first": 10, "public.second": 0, "public.third": 1},
    ),
    "renames a table": ("ALTER TABLE second RENAME TO renamed", {"public.first": 10, "public.renamed": 0}),
    "puts a view in its place": ("DROP TABLE second; CREATE VIEW second AS SELECT 1", {"public.first": 10}),
    "puts a sequence in its place": ("DROP TABLE second; CREATE SEQUENCE second", {"public.first": 10}),
    "rewrites a table": (
        "ALTER TABLE first ALTER v TYPE bytea USING v::bytea",
        {"public.first": 10, "public.second": 0},
    ),
    "empties and fills a table": (
        "TRUNCATE first; INSERT INTO first VALUES (1, 'new')",
        {"public.first": 1, "public.second": 0},
    ),
}


@pytest.mark.faults
@pytest.mark.parametrize("name", MIGRATIONS)
def test_a_migration_between_listing_and_locking(
    name: str, lab: Lab, postgres18: PostgresServer, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements, expected = MIGRATIONS[name]
    pending = [statements]

    def migrate() -> None:
        if pending:
            with postgres18.connect(filled) as session:
                session.execute(pending.pop())

    before_locking(monkeypatch, migrate)
    manifest = lab.backup(source_of(postgres18.dsn(filled)))
    lab.verify(manifest)
    assert {f"{table.namespace}.{table.name}": table.rows for table in manifest.tables} == expected


@pytest.mark.faults
def test_migrations_without_end(
    lab: Lab, postgres18: PostgresServer, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(100))

    def migrate() -> None:
        with postgres18.connect(filled) as session:
            session.execute(f"CREATE TABLE table_{next(numbers)} ()")

    before_locking(monkeypatch, migrate)
    error = lab.refused(source_of(postgres18.dsn(filled)))
    assert f"changed {ATTEMPTS} times while they were being locked" in error.what
    assert "when no migration" in error.remedy


def before_locking(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Runs something at the worst moment: after the tables were listed, before they are locked."""
    lock = Snapshot._lock

    def interrupted(self: Snapshot, tables: list[Table]) -> None:
        action()
        lock(self, tables)

    monkeypatch.setattr(Snapshot, "_lock", interrupted)


def test_a_connection_pooler(lab: Lab, filled: str, pgbouncer: Callable[[str], str]) -> None:
    error = lab.refused(source_of(pgbouncer(filled)))
    assert "is a connection pooler" in error.what
    assert "the host and port of the server itself" in error.remedy


def test_no_client_programs_that_are_new_enough(
    lab: Lab, postgres18: PostgresServer, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's 15 in /usr/lib/postgresql is all that is found."""
    monkeypatch.delenv("BACKUP_PLAYBOOK_PG_CLIENTS")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    error = lab.refused(source_of(postgres18.dsn(filled)))
    assert "The server is Postgres 18, and this worker has no client programs of that version or newer" in error.what
    assert "found: 15" in error.what
    assert "Install postgresql-client-18" in error.remedy


def test_a_server_that_is_too_old() -> None:
    with pytest.raises(SourceError, match=r"shop at old is Postgres 13; backups need 14 or newer"):
        require_supported("shop at old", 130_022)
    require_supported("shop at new", 140_000)
