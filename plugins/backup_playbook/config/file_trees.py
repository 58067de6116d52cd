"""Trees of files in sources.yaml and targets.yaml, as strict models."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from backup_playbook.config.protected import Protected
from backup_playbook.config.strict import Strict
from backup_playbook.config.values import (
    BucketName,
    ConnectionId,
    Directory,
    KeyPrefix,
    NonEmpty,
    Size,
    StorageClass,
    advice,
)


def _not_encrypted(name: str | None) -> None:
    if name is not None:
        raise advice(
            "Write null, and give the bucket a default encryption with SSE-KMS: files stay readable for any S3 tool, "
            "and are not encrypted by us."
        )


def _require_one(directory: str | None, bucket: OtherBucket | None) -> None:
    if (directory is None) == (bucket is None):
        raise advice("Give either `directory` or `bucket`.")


class OtherBucket(Strict):
    """A bucket that is no repository."""

    connection: ConnectionId = Field(
        description="Airflow connection (type aws) that may list and read versions; of a target, write."
    )
    bucket: BucketName
    prefix: KeyPrefix | None = Field(default=None, description="Only what is below it; null for the whole bucket.")
    region: NonEmpty | None = Field(default=None, description="If it is not the one that the connection names.")


class SourceBucket(OtherBucket):
    """A bucket that is backed up. Its versioning, and `replication`, are compared with what it has before each run."""

    replication: BucketName | None = Field(
        default=None,
        description="Bucket that S3 must replicate it to by a rule of its own; null: that is not looked at.",
    )


class DeleteGuard(Strict):
    """Loss since the previous backup above which nothing is deleted until a person agrees."""

    share: float = Field(default=0.25, ge=0, le=1, strict=False, description="Of the files, 0 to 1.")
    number: int = Field(default=10_000, ge=0, description="Of files.")


class FilesSource(Protected):
    """A directory, or a bucket."""

    engine: Literal["files"]
    directory: Directory | None = Field(
        default=None,
        description="Absolute path, on every worker that runs the tasks. Symbolic links in it are not followed.",
    )
    bucket: SourceBucket | None = Field(default=None, description="Instead of `directory`. It must keep versions.")
    encryption: Annotated[str | None, AfterValidator(_not_encrypted)] = Field(
        default=None,
        description="null: any S3 tool can read the files. Let the bucket encrypt: a default encryption with SSE-KMS.",
    )
    storage_class: StorageClass = Field(
        default="STANDARD_IA",
        description="Of the files. S3 bills STANDARD_IA for 128 kB and 30 days at least: STANDARD for many small ones.",
    )
    delete_guard: DeleteGuard = DeleteGuard()
    rehash_every: int = Field(
        default=30,
        ge=1,
        le=1_000,
        description=(
            "In every so many-th run, each file is read, although size, time and inode are unchanged, and so is each "
            "stored version: it finds what a failing disk does."
        ),
    )
    streams: int = Field(default=8, ge=1, le=32, description="How many files are sent, or read, at once.")
    minimum_size: Size = Field(
        default=0,
        description="Of the list of the files, which is what a backup adds to the files themselves.",
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        _require_one(self.directory, self.bucket)
        return self

    @property
    def restore_test(self) -> None:
        """None: files are proven whenever they are restored; there is no monthly test of them yet."""

    @property
    def recovery(self) -> None:
        """None: `restore_files` asks before it writes into the source itself."""


class FilesTarget(Strict):
    """A directory, or a bucket, below which restores may make directories of their own."""

    engine: Literal["files"]
    directory: Directory | None = Field(
        default=None, description="Absolute path, on every worker that runs the tasks; outside of sources."
    )
    bucket: OtherBucket | None = Field(
        default=None, description="Instead of `directory`: contents only, without links and attributes."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        _require_one(self.directory, self.bucket)
        return self
