"""Address of a MongoDB database, and remedies for when it does not answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.server_description import ServerDescription

from backup_playbook.core.errors import PlaybookError, SourceError
from backup_playbook.streams.memory import give_back_large_blocks

APPLICATION_NAME = "backup-playbook"
CONNECT_TIMEOUT_MS = 15_000
SNAPSHOTS_SINCE_WIRE_VERSION = 13
"""MongoDB 5.0."""
VOTES_SINCE_WIRE_VERSION = 9
"""MongoDB 4.4: members vote when an index is complete."""
TRANSACTIONS_SINCE_WIRE_VERSION = 8
"""MongoDB 4.2, where a sharded cluster has them too."""

Document = dict[str, Any]
# dates beyond the year 9999 are data too
CODEC: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)

# the whole answer, and all that is known of all servers
_TOO_MUCH = re.compile(", (?:full error|Timeout): ")
MAY_NOT, HAS_NONE = 13, 59
"""Codes: the user may not do that, and the server has no such command."""
_AUTHENTICATION_FAILED, _DUPLICATE_KEY = 18, 11000
_SNAPSHOT_TOO_OLD, _SNAPSHOT_UNAVAILABLE = 239, 246
_READ_ENDED = (43, 175, 11600, 11602, 91)  # cursor or plan killed, shutdown


@dataclass(frozen=True)
class MongoServer:
    """A database on a server.

    uri: `mongodb://` or `mongodb+srv://`, with the password. options: more of what a URI can say, such as `tls`.
    """

    uri: str = field(repr=False)
    database: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name in messages: `shop at db.example.com:27017 as backup`."""
        login, _, hosts = urlsplit(self.uri).netloc.rpartition("@")
        user = f" as {login.partition(':')[0]}" if login else ""
        return f"{self.database} at {hosts}{user}"

    @property
    def url(self) -> str:
        """DATABASE_URL for applications; holds the password."""
        parts = urlsplit(self.uri)
        options = {
            name: json.dumps(value) if isinstance(value, bool) else value for name, value in self.options.items()
        }
        words = {**dict(parse_qsl(parts.query)), **options}
        if "@" in parts.netloc:  # else the database of the path would be asked for the user
            words.setdefault("authSource", parts.path.strip("/") or "admin")
        return parts._replace(path=f"/{quote(self.database, safe='')}", query=urlencode(words)).geturl()

    def at(self, database: str) -> MongoServer:
        """Return another database of the same server."""
        return replace(self, database=database)

    def at_primary(self) -> MongoServer:
        """Return the same database, read at the primary: a URI may send reads to members that are behind."""
        return replace(self, options={**self.options, "readPreference": "primary"})

    @contextmanager
    def connect(self) -> Iterator[Database[Document]]:
        """Open the database with a client of its own, for several threads. Raises SourceError."""
        give_back_large_blocks()  # documents have up to 16 MB
        with explained(f"{self.label} could not be read"):
            defaults = {"serverSelectionTimeoutMS": CONNECT_TIMEOUT_MS, "connectTimeoutMS": CONNECT_TIMEOUT_MS}
            client: MongoClient[Document]
            with MongoClient(self.uri, **{"appname": APPLICATION_NAME, **defaults, **self.options}) as client:
                yield client.get_database(self.database, codec_options=CODEC)


@dataclass(frozen=True)
class Deployment:
    """Kind (standalone, replica set, sharded cluster) and version (8.0.4) of a server."""

    kind: str
    version: str
    wire_version: int

    @property
    def has_snapshots(self) -> bool:
        """Whether all collections can be read as of one time."""
        return self.kind != "standalone" and self.wire_version >= SNAPSHOTS_SINCE_WIRE_VERSION

    @property
    def release(self) -> tuple[int, ...]:
        """Major and minor version."""
        return release(self.version)


def release(version: str) -> tuple[int, ...]:
    """Return major and minor version: (8, 0)."""
    return tuple(int(part) for part in version.split(".")[:2])


def deployment(database: Database[Document]) -> Deployment:
    """Ask a server for its kind and version."""
    version = database.client.admin.command("buildInfo")["version"]
    known = _known(database)
    kinds = {"Standalone": "standalone", "Mongos": "sharded cluster", "LoadBalancer": "sharded cluster"}
    return Deployment(
        kind=kinds.get(known[0].server_type_name, "replica set"),
        version=version,
        wire_version=min(server.max_wire_version for server in known),
    )


def has_members(database: Database[Any], since: int) -> bool:
    """Check for members of at least this wire version: a standalone has neither votes nor transactions."""
    known = _known(database)
    return bool(known) and all(
        server.server_type_name != "Standalone" and server.max_wire_version >= since for server in known
    )


def _known(database: Database[Any]) -> list[ServerDescription]:
    servers = database.client.topology_description.server_descriptions().values()
    return [server for server in servers if server.server_type_name != "Unknown"]


@contextmanager
def explained(what: str, kind: type[PlaybookError] = SourceError) -> Iterator[None]:
    """Turn the driver's errors into errors of this project, with a remedy."""
    try:
        yield
    except BulkWriteError as error:
        first = (error.details["writeErrors"] or error.details["writeConcernErrors"])[0]
        raise kind(f"{what}: {first['errmsg']}", _remedy_of_code(first["code"])) from error
    except PyMongoError as error:
        raise kind(f"{what}: {short(error)}", _remedy(error)) from error


def short(error: PyMongoError) -> str:
    """Cut the driver's message before the whole answer of the server."""
    return _TOO_MUCH.split(str(error))[0]


def _remedy(error: PyMongoError) -> str:
    if isinstance(error, OperationFailure):
        return _remedy_of_code(error.code or 0)
    if isinstance(error, ServerSelectionTimeoutError):
        return "Check that the server is up and reachable from this worker at the address in the Airflow connection."
    if isinstance(error, AutoReconnect):
        return "Look at the server's log for this time, for a restart or an election; then run it again."
    if isinstance(error, (ConfigurationError, InvalidURI)):
        return "Correct host, schema and extra of the Airflow connection."
    return "Correct what the server says; then run it again."


def _remedy_of_code(code: int) -> str:
    if code == _AUTHENTICATION_FAILED:
        return "Correct login and password of the Airflow connection, and `authSource` in its extra."
    if code == MAY_NOT:
        return "Grant the connection's user the role that the README names; then run it again."
    if code == _DUPLICATE_KEY:
        return (
            "These documents were never there at the same time: the backup was taken, while they were written, from a "
            "server without snapshots. Restore another backup; take backups from a replica set of MongoDB 5 or newer."
        )
    if code == _SNAPSHOT_UNAVAILABLE:
        return (
            "The collection was changed while the backup ran, by createIndexes, collMod or a rename: run it again when "
            "that has ended."
        )
    if code == _SNAPSHOT_TOO_OLD:
        return (
            "The server keeps the past for too short a time. Raise it above what the backup takes, on every member: "
            "db.adminCommand({setParameter: 1, minSnapshotHistoryWindowInSeconds: 3600}); or raise `streams`."
        )
    if code in _READ_ENDED:
        return "Look at the server's log for this time: was it restarted, or a collection dropped? Then run it again."
    return "Correct what the server says; then run it again."
