"""What stands in the way is named in the plan, before anything is written."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.row_recovery import OnConflict, RowRecoveryError
from tests.integration.postgres.incident import Incident, difference

Open = Callable[..., Incident]

TABLES = """
CREATE TABLE renamed (id int PRIMARY KEY, v text); INSERT INTO renamed VALUES (1, 'a');
CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, p int, q int);
ALTER TABLE child ADD FOREIGN KEY (p) REFERENCES parent NOT ENFORCED;
INSERT INTO child VALUES (1, 1, 1);
CREATE TABLE ruled (id int PRIMARY KEY, v text); CREATE TABLE ruled_log (v text); INSERT INTO ruled VALUES (1, 'a');
CREATE RULE also AS ON INSERT TO ruled DO ALSO INSERT INTO ruled_log VALUES ('in');
CREATE RULE never AS ON DELETE TO ruled DO INSTEAD NOTHING;
CREATE TABLE boss (k text PRIMARY KEY, id int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE staff (id int PRIMARY KEY, boss text REFERENCES boss ON DELETE CASCADE);
INSERT INTO boss (k) VALUES ('k1'), ('k2');
CREATE TABLE held (id int PRIMARY KEY, name text UNIQUE); INSERT INTO held VALUES (1, 'a'), (2, 'b'), (3, 'c');
CREATE TABLE money (id int PRIMARY KEY, v numeric(10,4)); INSERT INTO money VALUES (1, 1.2345);
CREATE TABLE span (zone int4range, at int4range, PRIMARY KEY (zone, at WITHOUT OVERLAPS));
INSERT INTO span VALUES ('[1,2)', '[10,20)');
CREATE TABLE set_null (id int PRIMARY KEY, code text UNIQUE);
CREATE TABLE set_null_child (id int PRIMARY KEY, code text REFERENCES set_null (code) ON UPDATE SET NULL);
INSERT INTO set_null VALUES (1, 'A'), (2, 'B');
CREATE TABLE nulls (id int PRIMARY KEY, u int, UNIQUE NULLS NOT DISTINCT (u));
INSERT INTO nulls VALUES (1, NULL), (2, 5);
CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_2 PARTITION OF parts DEFAULT;
CREATE UNIQUE INDEX only_here ON parts_1 (v); INSERT INTO parts VALUES (1, 'a'), (2, 'b'), (200, 'c');
CREATE TABLE checked (id int PRIMARY KEY, pos int NOT NULL UNIQUE, CONSTRAINT few CHECK (pos BETWEEN 1 AND 4));
CREATE TABLE checked_child (id int PRIMARY KEY, p int REFERENCES checked ON DELETE CASCADE);
INSERT INTO checked VALUES (1, 1), (2, 2), (3, 3);
CREATE TABLE person (mail text PRIMARY KEY, v int CHECK (v > 0)); INSERT INTO person VALUES ('ann@x', 5), ('bob@x', 6);
"""
DAMAGE = """
DELETE FROM renamed; ALTER TABLE renamed RENAME id TO ident;
DELETE FROM child;
ALTER TABLE ruled DISABLE RULE never; DELETE FROM ruled; ALTER TABLE ruled ENABLE RULE never;
DELETE FROM boss; INSERT INTO boss (k) VALUES ('k1');
UPDATE held SET name = 'x' WHERE id = 1; UPDATE held SET name = 'y' WHERE id = 2; INSERT INTO held VALUES (9, 'a');
DELETE FROM span; INSERT INTO span VALUES ('[1,2)', '[15,25)');
DELETE FROM money; ALTER TABLE money ALTER v TYPE numeric(10,2);
UPDATE set_null SET code = 'Z' WHERE id = 1; INSERT INTO set_null_child VALUES (10, 'Z');
DELETE FROM nulls WHERE id = 1; INSERT INTO nulls VALUES (9, NULL);
DELETE FROM parts WHERE id IN (1, 200); INSERT INTO parts VALUES (9, 'a'), (209, 'c');
ALTER TABLE checked DROP CONSTRAINT few; UPDATE checked SET pos = pos + 10; UPDATE checked SET pos = 14 - pos;
ALTER TABLE checked ADD CONSTRAINT few CHECK (pos BETWEEN 1 AND 4);
DELETE FROM person; ALTER TABLE person DROP CONSTRAINT person_v_check, ADD CHECK (v > 5);
"""


def kinds(lost: Incident, on_conflict: OnConflict = "stop") -> list[str]:
    return [item.kind for item in lost.preview(on_conflict).conflicts]


def test_conflicts(incident: Open) -> None:
    """In one database, as each needs nothing of the others."""
    lost = incident(TABLES)
    lost.do(DAMAGE)
    gone = lost.dump()

    with pytest.raises(RowRecoveryError, match=r"no common key.* ident is no column"):
        lost.find("renamed", "1")

    lost.find("child", "1")
    assert kinds(lost) == []

    lost.find("ruled", "1")
    [rule] = lost.preview().conflicts
    assert (rule.kind, rule.solved_by, 'DISABLE RULE "also"' in rule.choices) == ("rewrite rule", (), True)

    lost.find("boss", where="k = 'k1'")
    assert kinds(lost, "overwrite") == ["identity differs", "key reused"]
    assert "public.staff (ON DELETE cascade" in lost.preview("overwrite").conflicts[0].what

    lost.find("held", where="true")
    preview = lost.preview("overwrite")
    assert [(item.kind, item.rows) for item in preview.conflicts] == [
        ("unique value taken", ("id=1 meets id=9",)), ("key reused", ("id=2",))
    ]  # fmt: skip
    assert preview.tables[0].counts == {"equal": 1, "differs": 1, "taken": 1}

    lost.find("span", where="true")
    assert kinds(lost) == ["unique value taken"]

    lost.find("set_null", where="true")
    assert kinds(lost, "overwrite") == ["references would go", "key reused"]
    assert lost.preview("overwrite").conflicts[0].rows == ("id=1",)

    lost.find("nulls", "1")
    assert kinds(lost) == ["unique value taken"]
    lost.find("parts", "1", "200")
    [taken] = lost.preview().conflicts
    assert taken.rows == ("id=1 meets id=9",)
    lost.find("checked", where="true")
    assert kinds(lost, "overwrite") == ["unique values exchanged", "key reused"]

    lost.find("money", "1")
    [retyped] = lost.preview().conflicts
    assert "rounded" in retyped.choices

    lost.find("person", "ann@x", "bob@x")
    with pytest.raises(RestoreError) as caught:
        lost.bring_back()
    assert "ann@x" not in str(caught.value)
    assert caught.value.__cause__ is None  # nor in a traceback
    assert "person_v_check" in str(caught.value)
    assert difference(lost.dump(), gone) == set()


def test_rows_changed_while_the_import_waits_for_them(incident: Open) -> None:
    lost = incident("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
    lost.do("UPDATE t SET v = 'bad'")
    lost.find("t", "1")
    waits = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with lost.server.connect(lost.name) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN; UPDATE t SET v = 'newer work'")
        importing = pool.submit(lost.bring_back, "overwrite")
        while not lost.ask(waits):
            assert not importing.done()
        other.execute("COMMIT")
        with pytest.raises(RowRecoveryError, match="has changed since the preview"):
            importing.result()
    assert lost.ask("TABLE t") == [(1, "newer work")]


def test_production_that_forbids_ddl(incident: Open) -> None:
    lost = incident("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    lost.do(
        "DELETE FROM t; CREATE FUNCTION no_ddl() RETURNS event_trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE ''call the DBA''; END'; CREATE EVENT TRIGGER no_ddl ON ddl_command_end EXECUTE FUNCTION no_ddl()"
    )
    try:
        lost.find("t", "1")
        with pytest.raises(RowRecoveryError, match="its event triggers are no_ddl: call the DBA") as caught:
            lost.preview()
        assert "IF session_user = 'postgres' THEN RETURN" in caught.value.remedy
    finally:
        lost.do("DROP EVENT TRIGGER no_ddl")
