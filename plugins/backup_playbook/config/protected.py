"""Settings that all kinds of sources have."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from backup_playbook.config.strict import Strict
from backup_playbook.config.values import Name, NonEmpty, Size


class Protected(Strict):
    """Backups of a source: where they go, how they are made, and how long they stay."""

    kind: ClassVar[Literal["database", "files"]] = "database"
    records: ClassVar[str] = ""
    """What its records are called, where they can be recovered one by one: `rows`, `documents`; empty: they cannot."""

    repository: Name = Field(description="Where its backups are written: a name in repositories.yaml.")
    offsite: Annotated[tuple[Name, ...], Field(strict=False)] = Field(
        default=(),
        description=(
            "Where verified backups are copied to: names in repositories.yaml, in other buckets than `repository`."
        ),
    )
    encryption: Name | None = Field(
        default=None,
        description="A name in encryption.yaml. null: we do not encrypt, and rely on the bucket's own encryption.",
    )
    retention: Name = Field(description="How long backups stay: a name under `retention` in policies.yaml.")
    objectives: Name = Field(
        description="How much loss and downtime is acceptable: a name under `objectives` in policies.yaml.",
    )
    streams: int = Field(
        default=2,
        ge=1,
        le=16,
        description=(
            "How many tables (or parts of a very large one) are read at once, each on a connection of its own."
        ),
    )
    compression_level: int = Field(
        default=1,
        ge=-7,
        le=19,
        description="zstd level. 1 keeps up with the disk; 19 is slow and small.",
    )
    verification: Literal["full", "checksums"] = Field(
        default="full",
        description=(
            "`full` reads every stored byte back and checks its content. `checksums` only compares the store's "
            "own checksums with the manifest, for sources that are too large to be read back every night; the "
            "restore test still proves them."
        ),
    )
    minimum_size: Size = Field(
        default=100_000_000,
        description="A backup that is stored in fewer bytes is suspicious, and the daily verification says so.",
    )


class DatabaseSource(Protected):
    """Settings that all kinds of databases have."""

    database: NonEmpty | None = Field(
        default=None,
        description="The database, if not the one that the connection names.",
    )
