import pytest

from backup_playbook.engines.postgres.connection import PostgresServer

SECRET = "s3cret value"


def server(**keywords: str) -> PostgresServer:
    return PostgresServer({"host": "db.example.com", "dbname": "shop", "user": "backup", **keywords}, SECRET)


def test_the_password_shows_nowhere_but_in_the_environment() -> None:
    found = server()
    assert SECRET not in repr(found)
    assert SECRET not in found.label
    assert SECRET not in found.client_database
    assert found.environment()["PGPASSWORD"] == SECRET


def test_everything_that_libpq_reads_from_variables_reaches_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", "/etc/ca.pem")
    monkeypatch.setenv("PGUSER", "somebody else")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not theirs")
    found = server(sslmode="verify-full", options="-c geqo=off").environment(PGCLIENTENCODING="UTF8")
    assert found["PGHOST"] == "db.example.com"
    assert found["PGDATABASE"] == "shop"
    assert found["PGUSER"] == "backup"
    assert found["PGSSLMODE"] == "verify-full"
    assert found["PGOPTIONS"] == "-c geqo=off"
    assert found["PGSSLROOTCERT"] == "/etc/ca.pem"
    assert found["PGCLIENTENCODING"] == "UTF8"
    assert "AWS_SECRET_ACCESS_KEY" not in found


def test_a_database_name_is_no_connection_string() -> None:
    assert "dbname='host=evil \\'x\\''" in server(dbname="host=evil 'x'").client_database
