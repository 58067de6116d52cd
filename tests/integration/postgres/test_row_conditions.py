"""A condition means the same rows in a scratch as in production, or it is refused before anything is restored."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.engines.postgres.row_recovery import wanted_rows
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database, MakeScratch
from tests.integration.postgres.incident import Incident
from tests.integration.postgres.lab import Lab, server_of

Open = Callable[..., Incident]

# users is no part of a pack, so that a scratch has no rows of it
SHOP = """
CREATE SCHEMA app; CREATE EXTENSION citext SCHEMA app;
ALTER DATABASE conditions SET search_path = app, public;
ALTER DATABASE conditions SET timezone = 'Asia/Tokyo';
SET search_path = app, public;
CREATE TABLE public.users (id int PRIMARY KEY, f text);
CREATE TABLE app.orders (id int PRIMARY KEY, user_id int, v text, mail citext, at timestamptz,
                         "select" int,
                         twice int GENERATED ALWAYS AS (user_id * 2) STORED);
INSERT INTO public.users SELECT i, repeat('x', 200) FROM generate_series(1, 2000) i;
INSERT INTO app.orders SELECT i, i, 'v', 'A' || i || '@X', timestamptz '2026-01-01 00:00+00' + i * interval '1 hour', i
  FROM generate_series(1, 1000) i;
CREATE FUNCTION app.unknown(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 NOT IN (SELECT id FROM public.users)';
CREATE FUNCTION app.known(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS
  'BEGIN RETURN EXISTS (SELECT FROM public.users WHERE id = $1); END';
CREATE FUNCTION app.hidden(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS
  $$ DECLARE found bool; BEGIN IF $1 < 999 THEN RETURN false; END IF;
     EXECUTE 'SELECT count(*) > 0 FROM public.' || 'users' INTO found; RETURN found; END $$;
CREATE FUNCTION app.atomic(int) RETURNS bool STABLE RETURN EXISTS (SELECT FROM public.users WHERE id = $1);
CREATE FUNCTION app.limit_of() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 995';
CREATE FUNCTION app.is_big(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 > limit_of()';
CREATE FUNCTION app.same(citext, text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1 = $2::citext; END';
CREATE FUNCTION app.reads(int, int) RETURNS bool STABLE LANGUAGE plpgsql AS 'BEGIN RETURN known($1 + $2); END';
CREATE FUNCTION app.last(int) RETURNS bool STABLE LANGUAGE plpgsql AS
  'BEGIN RETURN NOT EXISTS (SELECT FROM app.orders WHERE id > $1); END';
CREATE OPERATOR app.~~~ (LEFTARG = int, RIGHTARG = int, FUNCTION = app.reads);
CREATE TABLE app.parted (id int PRIMARY KEY, f text) PARTITION BY RANGE (id);
CREATE TABLE app.parted_1 PARTITION OF app.parted FOR VALUES FROM (0) TO (10000);
INSERT INTO app.parted SELECT i, repeat('x', 300) FROM generate_series(1, 2000) i;
CREATE VIEW app.v AS SELECT 1 AS one;
"""


@pytest.fixture
def shop(lab: Lab, postgres15: PostgresServer, scratch: MakeScratch, tmp_path: Path) -> Iterator[Incident]:
    with postgres15.connect() as session:
        session.execute("CREATE DATABASE conditions TEMPLATE template0")
    with postgres15.connect("conditions") as session:
        session.execute(SHOP.encode())
    yield Incident(lab, postgres15, "conditions", scratch, tmp_path)
    postgres15.drop_database("conditions")


REFUSED = {
    "user_id NOT IN (SELECT id FROM public.users)": "subquery",
    "NOT EXISTS (TABLE public.users)": "subquery",
    "user_id = ANY (ARRAY(SELECT id FROM users))": "subquery",
    "unknown(user_id)": "VOLATILE",
    "app.known(user_id)": "has read public.users",
    'U&"kn\\006Fwn"(user_id) -- SELECT': "has read public.users",
    "atomic(user_id)": "reads public.users",
    "user_id ~~~ 1": "has read public.users",
    "last(id)": "has read app.orders",
    "user_id operator(app.~~~) 1 IS TRUE": "has read public.users",
    "random() < 2": "VOLATILE",
    "table_to_xml('users', true, true, '') IS NOT NULL": "depends on more than its arguments",
    "v = current_user": "names of the user",
    "v = current_setting('TimeZone')": "depends on more than its arguments",
    "pg_relation_size('users') > 0": "VOLATILE",
    "to_regclass('users') IS NULL": "depends on more than its arguments",
    "ctid = '(0,1)'": "does not fit",
    "tableoid = 5": "columns of the system",
    "count(*) > 1": "does not fit",
    "true); DROP TABLE users; --": "does not fit",
    "true), ADD CHECK (false": "does not fit",
    "true) UNION SELECT FROM users WHERE (true": "does not fit",
    "nonsense = 1": "does not fit",
    "id": "does not fit",
}


def test_conditions(shop: Incident) -> None:
    """In one database, as each needs nothing of the others."""
    for condition, why in REFUSED.items():
        with pytest.raises(RowRecoveryError, match=why):
            wanted_rows(shop.live, "app.orders", where=condition)
    assert shop.ask("SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()") == [(0,)]

    shop.do("DELETE FROM app.orders WHERE id > 900")
    for condition, meant in {
        "mail = 'a950@x'": "id = 950",  # as citext compares
        "mail IN ('a951@x', 'b')": "id = 951",
        "same(orders.mail, 'a952@x')": "id = 952",
        "is_big(id)": "id > 995",
        "at = '2026-02-10 10:00'": "id = 961",  # of Tokyo
        "at::date = '2026-02-10'": "id BETWEEN 951 AND 974",
        "twice BETWEEN 1820 AND 1824": "id BETWEEN 910 AND 912",
        '"select" = 920 -- one': "id = 920",
        "v LIKE '%v%' AND mail LIKE 'a922@%'": "id = 922",
        "(orders.*) IS NOT NULL AND id = 921": "id = 921",
    }.items():
        found = shop.find("app.orders", where=condition)
        with found.server.connect() as session:
            ids = session.execute(
                "SELECT array_agg(id ORDER BY id) FROM app.orders t WHERE EXISTS "
                "(SELECT FROM backup_playbook.found f WHERE f.relation = t.tableoid AND f.place = t.ctid)"
            ).fetchall()[0][0]
        with shop.live.connect() as session:
            session.execute("CREATE TEMP TABLE o AS SELECT i AS id FROM generate_series(1, 1000) i")
            wanted = session.execute(f"SELECT array_agg(id ORDER BY id) FROM o WHERE {meant}".encode()).fetchall()[0][0]
        assert ids == wanted, condition
        found.drop()
    shop.find("app.parted", where="(parted.*) IS NOT NULL AND id < 5")
    assert shop.preview().tables[0].counts == {"equal": 4}
    with pytest.raises(RowRecoveryError, match=r"has read public\.users"):
        shop.find("app.orders", where="hidden(id)")
    shop.do("CREATE OR REPLACE FUNCTION app.limit_of() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'")
    with pytest.raises(RowRecoveryError, match="did something else when the backup was taken"):
        shop.find("app.orders", where="is_big(id)")


CHANGING = """
CREATE SEQUENCE counter; SELECT setval('counter', 900);
CREATE FUNCTION is_recent(int) RETURNS bool STABLE LANGUAGE plpgsql AS
  'BEGIN RETURN $1 > (SELECT last_value FROM public.counter); END';
CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%@%');
CREATE FUNCTION is_mail(text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS
  'BEGIN PERFORM $1::public.mail; RETURN true; EXCEPTION WHEN check_violation THEN RETURN false; END';
CREATE FUNCTION in_catalog(int) RETURNS bool STABLE LANGUAGE plpgsql AS
  'BEGIN RETURN $1 <= 5 + (SELECT count(*) FROM pg_indexes WHERE schemaname = ''public''); END';
CREATE FUNCTION is_small(int) RETURNS bool STABLE LANGUAGE plpgsql AS
  $$ BEGIN RETURN $1 <= coalesce(nullif(current_setting('app.lim', true), '')::int, 900); END $$;
CREATE TABLE users (k text PRIMARY KEY, r int); INSERT INTO users VALUES ('k', 1);
CREATE FUNCTION rate(text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  'BEGIN RETURN (SELECT r FROM public.users WHERE k = $1); END';
CREATE TABLE t (id int PRIMARY KEY, v text, up int REFERENCES t ON DELETE CASCADE,
                r int GENERATED ALWAYS AS (rate(v)) STORED);
INSERT INTO t SELECT i, CASE WHEN i <= 3 THEN 'bad' ELSE 'a@b' END, nullif(i / 2, 0) FROM generate_series(1, 1000) i;
"""


def test_functions_that_depend_on_more_than_the_row(
    lab: Lab, postgres18: PostgresServer, database: Database, scratch: MakeScratch, tmp_path: Path
) -> None:
    """What goes along with the rows need not meet the condition."""
    name = database()
    with postgres18.connect(name) as session:
        session.execute(f"ALTER DATABASE {name} SET app.lim = '10'; {CHANGING}".encode())
    lost = Incident(lab, postgres18, name, scratch, tmp_path)
    for where in ("is_mail(v)", "NOT is_mail(v) OR id = 9", "in_catalog(id)", "is_recent(id)"):
        with pytest.raises(RowRecoveryError, match="production judges"):
            lost.find("t", where=where)
    with pytest.raises(RowRecoveryError, match=r"names r, which public\.rate\(text\) generates"):
        lost.find("t", where="r IS NULL")
    lost.find("t", where="is_small(id) AND id > 3")
    assert lost.preview().tables[0].counts == {"equal": 997}


def test_no_code_of_other_users_is_run(postgres18: PostgresServer, database: Database) -> None:
    """It would run with the rights of the recovery, and before anybody has approved."""
    name = database()
    with postgres18.connect(name) as session:
        session.execute(b"CREATE TABLE t (id int PRIMARY KEY, v varchar(20)); INSERT INTO t VALUES (1, 'a')")
        session.execute(b"CREATE ROLE mallory; GRANT CREATE ON SCHEMA public TO mallory")
        session.execute(b"CREATE FUNCTION mine(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS "
                        b"'BEGIN RETURN lower($1::varchar); END'; SET ROLE mallory")  # fmt: skip
        for head in ("unnest(text[]) RETURNS SETOF text", "unnest(name[]) RETURNS SETOF name",
                     "lower(varchar) RETURNS text", "like_a(varchar, text) RETURNS bool"):  # fmt: skip
            session.execute(f"CREATE FUNCTION public.{head} LANGUAGE plpgsql IMMUTABLE AS "
                            "'BEGIN RAISE EXCEPTION ''ran''; END'".encode())  # fmt: skip
        session.execute(b"CREATE OPERATOR public.~~ (LEFTARG = varchar, RIGHTARG = text, FUNCTION = public.like_a)")
    live = server_of(postgres18.dsn(name))
    try:
        assert wanted_rows(live, "t", where="id = 1").selection.condition
        assert wanted_rows(live, "t", where="pg_catalog.lower(v) = 'a'").selection.condition
        # the second is called by a plan already
        for where in ("lower(v) = 'a'", "v = lower('A'::varchar)", "v LIKE 'a'::text", "mine(v) = 'a'"):
            with pytest.raises(RowRecoveryError, match=r"do not belong to the table's owner: .* of mallory"):
                wanted_rows(live, "t", where=where)
    finally:
        with postgres18.connect(name) as session:
            session.execute(b"DROP OWNED BY mallory; DROP ROLE mallory")
