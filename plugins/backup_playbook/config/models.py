"""Models of sources.yaml, repositories.yaml and targets.yaml. A field's description is what editors show."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backup_playbook.config.file_trees import FilesSource, FilesTarget
from backup_playbook.config.protected import Protected
from backup_playbook.config.recovery import MongoRecovery, Program, SourceRecovery
from backup_playbook.config.strict import Strict
from backup_playbook.config.values import (
    BucketName,
    ConnectionId,
    Duration,
    KeyPrefix,
    Name,
    NonEmpty,
    StorageClass,
    advice,
)

# --- sources.yaml -----------------------------------------------------------------------------------------------------


class SqlCheck(Strict):
    """A question to the restored database, and the right answer."""

    check: Literal["sql"]
    name: NonEmpty = Field(description="What is checked, for reports and messages.")
    query: NonEmpty = Field(description="One statement. It runs in a read-only transaction.")
    expect: int | bool | str = Field(description="The first column of the first row.")


class CommandCheck(Strict):
    """A program that exits with 0 when the restored database is fit for use."""

    check: Literal["command"]
    name: NonEmpty = Field(description="What is checked, for reports and messages.")
    command: Program = Field(
        description=(
            "Program and arguments, without a shell. It starts in the folder of dags/ and include/; DATABASE_URL leads "
            "to the restored database, which goes live afterwards in a recovery: roll back what it writes."
        ),
    )
    timeout: Duration = Field(default=timedelta(minutes=10), description="It is ended, and has failed, after this.")


class HttpCheck(Strict):
    """A page of an application that works on the restored database."""

    check: Literal["http"]
    name: NonEmpty = Field(description="What is checked, for reports and messages.")
    connection: ConnectionId = Field(description="Airflow connection (type HTTP): address, credentials, headers.")
    path: str = Field(
        default="/",
        description="Below the connection's address; `{database}` becomes the name of the restored database.",
    )
    status: int = Field(default=200, ge=100, le=599, description="The HTTP status that is right.")
    contains: str = Field(default="", description="Text that the answer must contain.")


ApplicationCheck = Annotated[SqlCheck | CommandCheck | HttpCheck, Field(discriminator="check")]


class RestoreTest(Strict):
    """The monthly test: the place of the restored copy, and the checks it must pass besides being equal."""

    target: Name = Field(description="Where its scratch databases are made: a name in targets.yaml.")
    checks: Annotated[tuple[ApplicationCheck, ...], Field(strict=False)] = Field(
        default=(),
        description="What the application itself would check, in this order.",
    )


class MongoRestoreTest(RestoreTest):
    """The monthly test of a MongoDB database, which knows no SQL."""

    checks: Annotated[
        tuple[Annotated[CommandCheck | HttpCheck, Field(discriminator="check")], ...], Field(strict=False)
    ] = Field(default=(), description="What the application itself would check, in this order.")


class DatabaseSource(Protected):
    """Settings that all kinds of databases have."""

    database: NonEmpty | None = Field(
        default=None,
        description="The database, if not the one that the connection names.",
    )


class PostgresSource(DatabaseSource):
    """One Postgres database."""

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


class MongoSource(DatabaseSource):
    """One MongoDB database."""

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


Source = Annotated[PostgresSource | MongoSource | FilesSource, Field(discriminator="engine")]
"""Any source."""


class SourcesFile(Strict):
    """Sources to protect. A name under `sources` becomes part of S3 keys: do not change it later."""

    sources: Mapping[Name, Source] = Field(min_length=1)


# --- repositories.yaml ------------------------------------------------------------------------------------------------


class RepositorySettings(Strict):
    """A bucket and a prefix in it, which hold backups."""

    connection: ConnectionId = Field(
        description="Airflow connection (type aws). `endpoint_url` in its extra leads to an S3 compatible store.",
    )
    bucket: BucketName
    prefix: KeyPrefix = Field(
        default="playbook",
        description="Everything is written, and deleted, below this prefix only.",
    )
    region: NonEmpty | None = Field(
        default=None,
        description="The bucket's region, if not the one that the connection names.",
    )
    storage_class: StorageClass = Field(
        default="STANDARD",
        description="Storage class of new objects.",
    )
    conditional_writes: bool = Field(
        default=True,
        description=(
            "false for a store without If-None-Match on PUT: two runs that seal one backup id are then told apart "
            "by a look before the write, which leaves a small gap."
        ),
    )
    checksums: bool = Field(
        default=True,
        description=(
            "false for a store that rejects the SHA-256 checksums of uploads (boto3's `when_required`); what is "
            "stored is then only known to be right once `verify` has read it back."
        ),
    )
    object_tags: bool = Field(
        default=True,
        description=(
            "false for a store without object tags. Lifecycle rules then cannot tell a yearly backup from a daily one."
        ),
    )
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        default=None,
        description="What the store is asked to encrypt new objects with, where the bucket demands that it is asked.",
    )
    kms_key_id: NonEmpty | None = Field(
        default=None,
        description="The key for `aws:kms`; null: the bucket's default one.",
    )
    equal_parts: bool = Field(
        default=False,
        description=(
            "true for a store that demands parts of one size, such as Cloudflare R2: large objects are then sent in "
            "larger parts, of which a few are in memory."
        ),
    )

    @model_validator(mode="after")
    def _key_needs_kms(self) -> Self:
        if self.kms_key_id and not (self.server_side_encryption or "").startswith("aws:kms"):
            raise advice("Set `server_side_encryption: aws:kms` for `kms_key_id`, or remove the key.")
        return self


class RepositoriesFile(Strict):
    """Buckets for backups."""

    repositories: Mapping[Name, RepositorySettings] = Field(min_length=1)


# --- targets.yaml -----------------------------------------------------------------------------------------------------


class PostgresTarget(Strict):
    """A Postgres server on which restores may make databases of their own. What exists there is not touched."""

    engine: Literal["postgres"]
    connection: ConnectionId = Field(
        description=(
            "Airflow connection (type Postgres) of a role that may create databases. Not production: its load, and "
            "a mistake, would meet the live database."
        ),
    )


class MongoTarget(Strict):
    """A MongoDB server on which restores may make databases of their own. What exists there is not touched."""

    engine: Literal["mongodb"]
    connection: ConnectionId = Field(
        description=(
            "Airflow connection (type MongoDB) of a user with the roles that the README names. Not production: its "
            "load, and a mistake, would meet the live database."
        ),
    )


Target = Annotated[PostgresTarget | MongoTarget | FilesTarget, Field(discriminator="engine")]


class TargetsFile(Strict):
    """Servers for trial restores. May be empty; then no restore is ever tested."""

    targets: Mapping[Name, Target]
