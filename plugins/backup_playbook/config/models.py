"""Models of sources.yaml, repositories.yaml and targets.yaml. A field's description is what editors show.

The settings of an engine are a module of their own, and a member of `Source`, and of `Target`, here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backup_playbook.config.file_trees import FilesSource, FilesTarget
from backup_playbook.config.mongodb import MongoSource, MongoTarget
from backup_playbook.config.postgres import PostgresSource, PostgresTarget
from backup_playbook.config.strict import Strict
from backup_playbook.config.values import (
    BucketName,
    ConnectionId,
    KeyPrefix,
    Name,
    NonEmpty,
    StorageClass,
    advice,
)

# --- sources.yaml -----------------------------------------------------------------------------------------------------


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


Target = Annotated[PostgresTarget | MongoTarget | FilesTarget, Field(discriminator="engine")]


class TargetsFile(Strict):
    """Servers for trial restores. May be empty; then no restore is ever tested."""

    targets: Mapping[Name, Target]
