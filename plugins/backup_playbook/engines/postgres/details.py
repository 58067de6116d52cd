"""Details in the manifests of Postgres databases."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from backup_playbook.core.details import Details
from backup_playbook.engines.postgres.encodings import NO_ENCODING

Name = tuple[str, str]
"""Namespace and name."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Excluded(_Part):
    """Counts of what no backup holds, or what a copy computes anew.

    extension_tables: names of tables of extensions that have rows, and are not in backups.
    """

    subscriptions: int
    user_mappings: int
    materialised_views: int
    extension_tables: tuple[str, ...]


class GeneratedDigest(_Part):
    """Digest of the stored generated columns of a table."""

    namespace: str
    name: str
    columns: tuple[str, ...]
    digest: str

    @property
    def table(self) -> Name:
        """Namespace and name of the table."""
        return self.namespace, self.name

    @property
    def line(self) -> str:
        """Line of `leave_out` that lets these columns have other values in a copy."""
        return f"GENERATED {self.namespace} {self.name}"


class Extension(BaseModel):
    """Extension that a restore needs, and its schema, which nothing reads."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    version: str


class Roles(_Part):
    """Roles that a restore needs: `policies` name some; `owners` own something, or are granted it."""

    policies: tuple[str, ...]
    owners: tuple[str, ...]


class PostgresDetails(Details):
    """Facts about the server and the database.

    snapshot_lsn: place of the snapshot in the log. unlogged: tables and sequences whose contents a standby does not
    have. without_rows: tables whose rows are in no backup. excluded, generated: None in backups of releases that had no
    such counts. encoding: of COPY text. python_codec: of names, as this program reads them. sequences: how many.
    role_passwords: whether the globals hold them; None: where they could be read. database: its properties.
    """

    server_version: str
    server_version_number: int
    system_identifier: str
    snapshot_lsn: str | None
    taken_from_standby: bool
    unlogged: tuple[Name, ...] = ()
    without_rows: tuple[Name, ...] = ()
    excluded: Excluded | None = None
    generated: tuple[GeneratedDigest, ...] | None = None
    encoding: str
    python_codec: str
    large_objects: int
    large_object_digest: str | None
    sequences: int
    extensions: tuple[Extension, ...]
    roles: Roles
    role_passwords: bool | None = None
    database: dict[str, Any]

    @property
    def major(self) -> int:
        """Major version of the server."""
        return self.server_version_number // 10_000

    @property
    def database_name(self) -> str:
        """Name of the database."""
        return str(self.database["datname"])

    @property
    def settings(self) -> list[dict[str, Any]]:
        """Settings of the database, and of roles in it: `role`, None for all, and `settings`."""
        return list(self.database.get("settings", ()))

    @property
    def client_encoding(self) -> str:
        """Client encoding in which `python_codec` reads and writes names."""
        if self.encoding != NO_ENCODING:
            return self.encoding
        return "LATIN1" if self.python_codec == "iso8859-1" else "UTF8"
