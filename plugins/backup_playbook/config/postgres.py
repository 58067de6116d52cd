"""Settings of Postgres in sources.yaml and targets.yaml."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from backup_playbook.config.protected import DatabaseSource
from backup_playbook.config.recovery import Recovery
from backup_playbook.config.restore_test import RestoreTest
from backup_playbook.config.strict import Strict
from backup_playbook.config.values import ConnectionId, Duration, NonEmpty


class SourceRecovery(Recovery):
    """Writing to production itself; without it, a source is only ever restored elsewhere."""

    connection: ConnectionId = Field(
        description=(
            "Airflow connection (type Postgres) of a role that may write to the database, create, rename and drop "
            "databases of its server, and end connections; a plan names the grants that it lacks."
        ),
    )


class PostgresSource(DatabaseSource):
    """One Postgres database."""

    records: ClassVar[str] = "rows"
    engine: Literal["postgres"]
    connection: ConnectionId = Field(
        description=(
            "Airflow connection (type Postgres) of a role that may read everything: see the README for its grants."
        ),
    )
    lock_timeout: Duration = Field(
        default=timedelta(seconds=30),
        description=(
            "How long to wait for a table that a schema change has locked, before the backup gives up and says "
            "which one."
        ),
    )
    without_rows: Annotated[tuple[NonEmpty, ...], Field(strict=False)] = Field(
        default=(),
        description=(
            "Tables, as `schema.table`, of which no row is backed up, such as one with a row too large for COPY. Their "
            "definitions are; a restore has to leave out foreign keys to them."
        ),
    )
    role_passwords: Literal["encrypted", "always", "never"] = Field(
        default="encrypted",
        description=(
            "Whether the password hashes of all roles of the server are stored, for a new server after a loss of this "
            "one. encrypted: when the source's backups are encrypted."
        ),
    )
    restore_test: RestoreTest | None = Field(
        default=None,
        description="null: its backups are never restored on trial, and nobody knows whether they can be.",
    )
    recovery: SourceRecovery | None = Field(
        default=None,
        description="null: no recovery ever touches the database itself; restore it elsewhere, and take it from there.",
    )


class PostgresTarget(Strict):
    """A Postgres server on which restores may make databases of their own. What exists there is not touched."""

    kind: ClassVar[Literal["database", "files"]] = "database"
    engine: Literal["postgres"]
    connection: ConnectionId = Field(
        description=(
            "Airflow connection (type Postgres) of a role that may create databases. Not production: its load, and "
            "a mistake, would meet the live database."
        ),
    )
