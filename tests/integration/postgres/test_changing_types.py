"""No lock holds types: a backup notices when they change while it runs."""

import pytest

from backup_playbook.core.errors import SourceError
from backup_playbook.engines.postgres.snapshot import Snapshot
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database
from tests.integration.postgres.lab import server_of

TYPES = """
CREATE TYPE mood AS ENUM ('paid', 'open');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN amount AS int CHECK (VALUE > 0);
CREATE VIEW v AS SELECT 1 AS one;
CREATE VIEW unused AS SELECT 1 AS one;
CREATE TABLE t (m mood, p pair, a amount, v v);
"""
SWAP = """
ALTER TYPE mood RENAME VALUE 'paid' TO 'tmp';
ALTER TYPE mood RENAME VALUE 'open' TO 'paid';
ALTER TYPE mood RENAME VALUE 'tmp' TO 'open';
"""
BACK_AGAIN = "ALTER TYPE mood RENAME VALUE 'paid' TO 'tmp'; ALTER TYPE mood RENAME VALUE 'tmp' TO 'paid'"
HARMLESS = """
ALTER TYPE mood ADD VALUE 'new' BEFORE 'open';
GRANT USAGE ON TYPE mood TO public;
COMMENT ON TYPE pair IS 'a pair';
ALTER DOMAIN amount SET DEFAULT 1;
CREATE TYPE other AS (a int); DROP TYPE other;
CREATE OR REPLACE VIEW unused AS SELECT 1 AS one, 2 AS two;
CREATE TEMP TABLE temporary (m mood);
"""


def test_types_that_change_while_a_backup_runs(postgres18: PostgresServer, database: Database) -> None:
    name = database()
    with postgres18.connect(name) as session:
        session.execute(TYPES)
        for change, type_name in (
            (SWAP, "public.mood"),
            (BACK_AGAIN, "public.mood"),
            ("ALTER TYPE pair ADD ATTRIBUTE c int CASCADE", "public.pair"),
            ("ALTER TYPE pair RENAME TO pears", "public.pair"),
            ("ALTER DOMAIN amount RENAME TO sum", "public.amount"),
            ("CREATE OR REPLACE VIEW v AS SELECT 1 AS one, 2 AS two", "public.v"),
        ):
            with Snapshot(server_of(postgres18.dsn(name)), 30) as snapshot:
                session.execute(change)
                with pytest.raises(SourceError, match=f"A type .* was changed .*: {type_name}"):
                    snapshot.require_held()
        with Snapshot(server_of(postgres18.dsn(name)), 30) as snapshot:
            session.execute(HARMLESS.replace("pair", "pears").replace("amount", "sum"))
            snapshot.require_held()
