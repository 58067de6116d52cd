"""Settings of MongoDB in sources.yaml and targets.yaml."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from backup_playbook.config.protected import DatabaseSource
from backup_playbook.config.recovery import Recovery
from backup_playbook.config.restore_test import CommandCheck, HttpCheck, RestoreTest
from backup_playbook.config.strict import Strict
from backup_playbook.config.values import ConnectionId, NonEmpty


class MongoRecovery(Recovery):
    """Writing to a production MongoDB database."""

    connection: ConnectionId = Field(
        description=(
            "Airflow connection (type MongoDB) of a user with the role `readWrite` on the database; restore_database "
            "needs `dbAdmin` too."
        ),
    )


class MongoRestoreTest(RestoreTest):
    """The monthly test of a MongoDB database, which knows no SQL."""

    checks: Annotated[
        tuple[Annotated[CommandCheck | HttpCheck, Field(discriminator="check")], ...], Field(strict=False)
    ] = Field(default=(), description="What the application itself would check, in this order.")


class MongoSource(DatabaseSource):
    """One MongoDB database."""

    records: ClassVar[str] = "documents"
    engine: Literal["mongodb"]
    connection: ConnectionId = Field(
        description=(
            "Airflow connection (type MongoDB) of a user who may read everything: see the README for its roles."
        ),
    )
    leave_out: Annotated[tuple[NonEmpty, ...], Field(strict=False)] = Field(
        default=(),
        description="Collections that are not backed up, such as caches.",
    )
    restore_test: MongoRestoreTest | None = Field(
        default=None,
        description="null: its backups are never restored on trial, and nobody knows whether they can be.",
    )
    recovery: MongoRecovery | None = Field(
        default=None,
        description="null: nothing ever writes to the database itself; restore it elsewhere, and take it from there.",
    )


class MongoTarget(Strict):
    """A MongoDB server on which restores may make databases of their own. What exists there is not touched."""

    kind: ClassVar[Literal["database", "files"]] = "database"
    engine: Literal["mongodb"]
    connection: ConnectionId = Field(
        description=(
            "Airflow connection (type MongoDB) of a user with the roles that the README names. Not production: its "
            "load, and a mistake, would meet the live database."
        ),
    )
