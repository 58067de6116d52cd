"""sources.yaml, repositories.yaml, targets.yaml and policies.yaml, as strict models.

A field's description is what editors show.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from backup_playbook.config.file_trees import FilesSource, FilesTarget
from backup_playbook.config.protected import Protected
from backup_playbook.config.recovery import MongoRecovery, Program, RecoverySettings, SourceRecovery
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
from backup_playbook.core.retention import RetentionPolicy

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
    """How the monthly test restores a source, and what it asks of the copy besides being equal."""

    target: Name = Field(description="Where its scratch databases are made: a name in targets.yaml.")
    checks: Annotated[tuple[ApplicationCheck, ...], Field(strict=False)] = Field(
        default=(),
        description="What the application itself would check, in this order.",
    )


class MongoRestoreTest(RestoreTest):
    """The same for a MongoDB database, which knows no SQL."""

    checks: Annotated[
        tuple[Annotated[CommandCheck | HttpCheck, Field(discriminator="check")], ...], Field(strict=False)
    ] = Field(default=(), description="What the application itself would check, in this order.")


class DatabaseSource(Protected):
    """What all kinds of databases have."""

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
    """What is protected. A name under `sources` becomes part of S3 keys: do not change it later."""

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
    """Where backups are kept."""

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
    """Where backups are restored on trial. May be empty; then no restore is ever tested."""

    targets: Mapping[Name, Target]


# --- policies.yaml ----------------------------------------------------------------------------------------------------


class RetentionSettings(Strict):
    """The first verified backup of each day, week, month and year is kept for this long; 0 switches a rule off."""

    daily: int = Field(default=RetentionPolicy.daily, ge=0, le=36_500, description="Days.")
    weekly: int = Field(default=RetentionPolicy.weekly, ge=0, le=5_200, description="Weeks.")
    monthly: int = Field(default=RetentionPolicy.monthly, ge=0, le=1_200, description="Months.")
    yearly: int = Field(default=RetentionPolicy.yearly, ge=0, le=100, description="Years.")
    keep_newest: int = Field(
        default=RetentionPolicy.keep_newest,
        ge=1,
        le=1_000,
        description="So many of the newest verified backups are never removed, whatever their age.",
    )

    @property
    def policy(self) -> RetentionPolicy:
        """What `core.retention` decides by."""
        return RetentionPolicy(**self.model_dump())


class Objectives(Strict):
    """What the business has been promised."""

    rpo: Duration = Field(description="Recovery point objective: at most so much of the newest work may be lost.")
    rto: Duration = Field(description="Recovery time objective: a restore may take at most this long.")
    backed_up_within: Duration = Field(
        default=timedelta(hours=1),
        description="When the nightly run takes longer than this, people hear that the backup is late.",
    )
    proven_within: Duration = Field(
        default=timedelta(days=35),
        description="The newest backup that was restored and proven equal may be at most this old.",
    )
    reread_within: Duration = Field(
        default=timedelta(days=30),
        description="Every stored object is read and verified again this often, to find bit rot and tampering.",
    )


def _longer_than_a_backup(grace: timedelta) -> timedelta:
    if grace < timedelta(hours=1):
        raise advice("Write at least 1h. Until its manifest is written, a running backup looks like a failed one.")
    return grace


class Sweep(Strict):
    """Removal of what failed runs left behind: objects without a manifest, uploads that never ended."""

    grace: Annotated[Duration, AfterValidator(_longer_than_a_backup)] = Field(
        default=timedelta(hours=24),
        description=(
            "Nothing younger is removed. Must be longer than the longest backup takes: its manifest is written last."
        ),
    )


class AirflowSettings(Strict):
    """What the DAGs use of Airflow."""

    pool: NonEmpty = Field(
        default="backups",
        description="Airflow pool that limits how many backups and restores run at once. It must exist.",
    )
    file_backups: NonEmpty = Field(
        default="0 1 * * *",
        description="When nightly_file_backup runs, as cron writes it (UTC). `0 * * * *` is hourly.",
    )


class PoliciesFile(Strict):
    """How long, how fast, how much at once."""

    retention: Mapping[Name, RetentionSettings] = Field(min_length=1)
    objectives: Mapping[Name, Objectives] = Field(min_length=1)
    sweep: Sweep = Sweep()
    recovery: RecoverySettings = RecoverySettings()
    airflow: AirflowSettings = AirflowSettings()
