"""Model of a backup: the manifest, the objects and tables it names, and the kinds of evidence beside it.

These models are the on-disk format (DESIGN section 4). A manifest is written last and never changed; its `seal` is the
SHA-256 of its own canonical JSON, so that an edit shows.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from backup_playbook.core.details import Details
from backup_playbook.core.errors import VerificationError

FORMAT: Final = 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ObjectKind(StrEnum):
    """Content of an object; it decides how the content is checked and restored."""

    GLOBALS = "globals"
    """Roles and grants of the whole server, as SQL."""
    SCHEMA = "schema"
    """pg_dump archive of the definitions: pre-data and post-data."""
    TABLE = "table"
    """COPY text of one table, or of one chunk of it."""
    PACK = "pack"
    """SQL that loads many small tables: COPY ... FROM stdin blocks."""
    SEQUENCES = "sequences"
    """setval() statements."""
    LARGE_OBJECTS = "large_objects"
    """pg_dump archive of the large objects."""
    TREE = "tree"
    """Lines that name files, with where their contents are; see core.tree."""
    COLLECTION = "collection"
    """BSON documents of one collection, or of one range of its `_id`s."""
    METADATA = "metadata"
    """Options and indexes of a collection or view, as the JSON that mongodump writes."""
    USERS = "users"
    """Users and roles of a MongoDB database, as BSON."""


class StoredObject(_Record):
    """One S3 object of a backup."""

    name: str
    """Key below `objects/<source>/<backup_id>/`."""
    kind: ObjectKind
    stored_bytes: int
    stored_sha256: str
    """SHA-256 of the bytes in the bucket: compressed, and encrypted when configured."""
    store_checksum: str | None = None
    """The object store's own SHA-256 (`<base64>`, composite `<base64>-<parts>` for a multipart), for cheap checks."""
    first_part_bytes: int
    """Size of the first part (see repository.upload.part_bytes); a copy in equal parts has equal checksums."""
    content_bytes: int
    content_sha256: str
    """SHA-256 of the bytes before compression and encryption."""


class TablePart(_Record):
    """The rows of a table that one object holds: all of them, or one chunk."""

    object: str
    rows: int
    bytes: int
    """Length of the COPY text, or of the BSON documents."""
    sha256: str
    """SHA-256 of the same."""
    key_min: str | None = None
    """Smallest value of the first primary-key column in this chunk, as text (text types by collation "C"). For a range
    of a collection, its first `_id`, as canonical extended JSON; None: its first range."""
    key_max: str | None = None


class TableRecord(_Record):
    """A table or collection, and the parts of its rows, in the order in which they must be loaded."""

    namespace: str
    name: str
    kind: Literal["table", "unlogged", "extension", "collection", "capped", "timeseries"] = "table"
    columns: tuple[str, ...] = ()
    """Columns that were copied, in order: not dropped, not generated. Collections have none."""
    condition: str = ""
    """WHERE clause of an extension's configuration table, as the extension registered it."""
    key: tuple[str, ...] = ()
    """Columns of the primary key."""
    access_method: str = "heap"
    root: tuple[str, str] | None = None
    """Namespace and name of the partitioned table that must distribute the rows anew on a restore. Hash partitions need
    that when the hash differs between databases, as that of an enum, which is made of the oids of its labels."""
    parts: tuple[TablePart, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """Length of the rows as text, or of the documents."""
        return sum(part.bytes for part in self.parts)

    @property
    def target(self) -> tuple[str, str]:
        """Namespace and name of the table that the rows are loaded into."""
        return self.root or (self.namespace, self.name)

    @property
    def digest(self) -> str:
        """SHA-256 of the COPY text; of a chunked table, of its chunks' digests in order."""
        if len(self.parts) == 1:
            return self.parts[0].sha256
        return hashlib.sha256("".join(part.sha256 for part in self.parts).encode()).hexdigest()


class EncryptionRecord(_Record):
    """Encryption of a backup."""

    method: Literal["none", "gpg_recipients", "gpg_passphrase"] = "none"
    recipients: tuple[str, ...] = ()


class Manifest(_Record):
    """The document that makes a backup exist."""

    format: Literal[1] = FORMAT
    backup_id: str
    source: str
    engine: str
    started_at: datetime
    snapshot_at: datetime
    """Moment that the data shows."""
    finished_at: datetime
    tools: dict[str, str]
    compression: str
    encryption: EncryptionRecord
    details: dict[str, Any]
    """Facts on the server and the database; their shape belongs to the engine."""
    objects: tuple[StoredObject, ...]
    tables: tuple[TableRecord, ...]
    seal: str = ""

    @cached_property
    def parts_by_object(self) -> dict[str, list[tuple[TableRecord, TablePart]]]:
        """Tables and their parts in each object, in the order of the bytes."""
        found: dict[str, list[tuple[TableRecord, TablePart]]] = defaultdict(list)
        for table in self.tables:
            for part in table.parts:
                found[part.object].append((table, part))
        return dict(found)

    @cached_property
    def details_read(self) -> dict[type[Details], tuple[dict[str, Any], Details]]:
        """Models that `Details.of` has read, with the dictionary that each was read from."""
        return {}

    @property
    def rows(self) -> int:
        """Number of rows of all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def content_bytes(self) -> int:
        """Size of all objects before compression."""
        return sum(item.content_bytes for item in self.objects)

    @property
    def stored_bytes(self) -> int:
        """Size of all objects in the bucket."""
        return sum(item.stored_bytes for item in self.objects)

    @property
    def origin_seal(self) -> str:
        """Seal of the original, when this is a copy that names other versions; else its own."""
        return Details.of(self).copy_of or self.seal

    def sealed(self) -> Self:
        """Copy of the manifest with its seal."""
        return self.model_copy(update={"seal": self.digest()})

    def to_json(self) -> bytes:
        """Document for the repository."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes, where: str) -> Manifest:
        """Read and check a manifest. Raises VerificationError when it is not one, or not as it was sealed."""
        try:
            manifest = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(str(step) for step in first["loc"])
            raise VerificationError(
                f"{where} is not a manifest of format {FORMAT}: {path or 'the document'}: {first['msg']}.",
                "Use another backup, or the off-site copy. If a newer release wrote it, upgrade this project.",
            ) from None
        if manifest.seal != manifest.digest():
            raise VerificationError(
                f"{where} was changed after it was sealed: its content does not match its seal.",
                "Use another backup, or the off-site copy, and find out who wrote to the bucket.",
            )
        return manifest

    def digest(self) -> str:
        """SHA-256 of the canonical JSON of everything but the seal; equal to the seal of an untouched manifest."""
        body = self.model_dump(mode="json", exclude={"seal"})
        return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class EvidenceKind(StrEnum):
    """Statement of a small immutable document beside a manifest."""

    VERIFIED = "verified"
    """The stored bytes were read, and are what the manifest says."""
    REJECTED = "rejected"
    """The stored bytes differ from the manifest; until a later verification answers it."""
    RESTORED = "restored"
    """A restored copy was proven equal."""
    UNEQUAL = "unequal"
    """A restored copy differed, although the backup was read well; until a proven restore, or a person, answers it."""
    ACCEPTED = "accepted"
    """A person says that the backup is good although a copy was not equal."""
    COPIED = "copied"
    HELD = "held"
    RELEASED = "released"
    TIERED = "tiered"
