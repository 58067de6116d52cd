"""Scratch databases: made for one restore, found again when their worker was killed, and removed.

A scratch carries a comment that says so, and nothing without it is dropped, but for an empty database with a name as
only we give: what a worker left that was killed before it could write the comment.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from psycopg import Connection, Error
from psycopg.rows import TupleRow

from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.core.guards import DatabaseIdentity, require_not_production
from backup_playbook.core.model import Manifest
from backup_playbook.core.proof import Proof
from backup_playbook.core.server_words import message
from backup_playbook.engines.contract import WHOLE, CopyOptions, CopyServer, Room, ScratchTarget
from backup_playbook.engines.postgres.connection import PostgresServer, identity, may_be_quiet
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.postgres.handover import COMMENT, set_comment
from backup_playbook.engines.postgres.inventory import literal, quoted
from backup_playbook.engines.postgres.kept import is_kept, keep, require_fitting_name, require_new
from backup_playbook.engines.postgres.partial import read_part
from backup_playbook.engines.postgres.preflight import require_fitting, user_objects
from backup_playbook.engines.postgres.proof import prove
from backup_playbook.engines.postgres.recovery_preflight import require_room
from backup_playbook.engines.postgres.refusals import explained
from backup_playbook.engines.postgres.restore import Restore, RestoreOptions
from backup_playbook.engines.postgres.rights import require_rights, rights_of
from backup_playbook.engines.postgres.subscriptions import drop_database, drop_subscriptions, subscriptions_of
from backup_playbook.engines.scratch import SCRATCH_NAME, Scratch, scratch_name
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation

log = logging.getLogger(__name__)

_MARK = {"backup_playbook": "scratch"}
# from CREATE DATABASE to its comment: whoever looks for scratches waits until both are done, or their worker is dead
_LOCK = "SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtext('backup_playbook scratch'))"
_NAMES = "SELECT datname::text FROM pg_catalog.pg_database WHERE datname ~ '^scratch_' ORDER BY datname"

# what CREATE DATABASE calls a column of pg_database; a version's catalog has some of them only
_LOCALE_WORDS = {"datcollate": "LC_COLLATE", "datctype": "LC_CTYPE", "daticurules": "ICU_RULES"}
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def read_identity(server: PostgresServer) -> DatabaseIdentity:
    """Read the identity of the database that `server` leads to. Raises SourceError when it cannot be reached."""
    with server.connect() as connection:
        found = identity(connection)
    assert found is not None
    return found


@dataclass(frozen=True)
class ScratchServer:
    """Server on which scratch databases may be made; `server` names a database that we may connect to.

    production: databases that are never written to or dropped, by whatever address they are reached; asked for only
    before that. streams: how many load at once.
    """

    server: PostgresServer
    production: Callable[[], Sequence[DatabaseIdentity]]
    streams: int = 2

    def new_name(self, source: str, kept: str) -> str:  # noqa: ARG002 - of the contract
        """Return a new name: a copy that stays gets its own by `keep`."""
        return scratch_name(source)

    def scratch(self, name: str, owner: str = "", options: CopyOptions = WHOLE) -> ScratchDatabase:
        """Return the scratch of this name, made already or not."""
        chosen = RestoreOptions(
            streams=self.streams, owners=options.owners, only=options.only, leave_out=options.leave_out
        )
        return ScratchDatabase(self, name, owner, chosen)

    def require_room(self, name: str, content_bytes: int) -> Room:
        """Look whether a copy fits, and the name is free. Raises RestoreError."""
        if name:
            require_fitting_name(name)
            require_new(self.server, name)
        with self.server.connect(autocommit=True) as connection:
            free = require_room(connection, content_bytes, f"The server of {self.server.label}")
        return Room(self.server.label, free)

    def list_scratches(self) -> list[Scratch]:
        """List all scratch databases, also those of other runs and of killed workers. Raises SourceError."""
        with self.server.connect(autocommit=True) as connection:
            connection.execute(_LOCK)
            names = connection.execute(_NAMES).fetchall()
            return [found for (name,) in names if (found := self._recognise(connection, name))]

    def create(
        self, scratch: Scratch, properties: dict[str, Any], *, owned: bool = False, encoding: str | None = None
    ) -> None:
        """Create an empty database, with encoding and locale as `properties` (see read_database_properties) say.

        owned: with its owner too, who alone may create in its schema `public`, from Postgres 15 on. encoding: that of
        the names in the properties.
        """
        with (
            self.server.connect(autocommit=True) as connection,
            explained(f"No scratch could be made on {self.server.label}"),
        ):
            connection.execute(_LOCK)
            locale = _locale(connection, properties)
            connection.execute(f"CREATE DATABASE {quoted(scratch.name)} TEMPLATE template0 {locale}".encode())
            body = {**_MARK, "source": scratch.source, "backup_id": scratch.backup_id, "owner": scratch.owner}
            comment = json.dumps({**body, "created_at": datetime.now(UTC).isoformat()})
            set_comment(connection, scratch.name, comment)
            if owned:  # from inside: the bytes of a name are those of the encoding that its database has
                with replace(self.server.at(scratch.name), encoding=encoding).connect(autocommit=True) as inside:
                    owner = f"ALTER DATABASE {quoted(scratch.name)} OWNER TO {quoted(properties['owner'])}"
                    inside.execute(owner.encode(inside.info.encoding))

    def drop(self, name: str) -> None:
        """Drop a scratch with all its connections. Does nothing when it is gone.

        Raises GuardError, and drops nothing, when it is production or not a scratch of ours.
        """
        with self.server.connect(autocommit=True) as connection:
            found = identity(connection, name)
            if found is None:
                return
            require_not_production(found, self.production())
            if self._recognise(connection, name) is None:
                raise GuardError(
                    f"The database {name} on {self.server.label} is not a scratch: it lacks the comment that every "
                    "scratch carries.",
                    "Nothing was dropped. If it is one, and you want it gone, drop it manually.",
                )
            with explained(f"The scratch {name} on {self.server.label} could not be dropped"):
                if subscriptions := subscriptions_of(connection, name):
                    with self.server.at(name).connect(autocommit=True) as inside:
                        drop_subscriptions(inside, [*subscriptions])
                drop_database(connection, name, "WITH (FORCE)")
        log.info("The scratch %s is gone.", name)

    def _recognise(self, connection: Connection[TupleRow], name: str) -> Scratch | None:
        if not SCRATCH_NAME.fullmatch(name):
            return None
        row = connection.execute(COMMENT, [name]).fetchone()
        if row is None or not row[0]:
            return Scratch(name) if row and self._is_empty(name) else None
        try:
            body = json.loads(row[0])
            if body["backup_playbook"] != _MARK["backup_playbook"]:
                return None
            created_at = datetime.fromisoformat(body["created_at"])
            return Scratch(name, body["source"], body["backup_id"], body["owner"], created_at)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # somebody else's comment

    def _is_empty(self, name: str) -> bool:
        with self.server.at(name).connect(autocommit=True) as connection:
            return user_objects(connection) == 0


@dataclass(frozen=True)
class ScratchDatabase:
    """Scratch as the target of one restore, see `engines.contract.ScratchTarget`.

    name: from `scratch_name`. owner: an opaque string that tells whose scratch it is.
    """

    host: ScratchServer
    name: str
    owner: str
    options: RestoreOptions = field(default_factory=RestoreOptions)

    @property
    def server(self) -> PostgresServer:
        """Address of the scratch."""
        return self.host.server.at(self.name)

    @property
    def label(self) -> str:
        """Name for messages."""
        return self.server.label

    takes_applications = True

    @property
    def url(self) -> str:
        """DATABASE_URL for an application; holds the password."""
        return self.server.url

    def create(self, manifest: Manifest) -> None:
        """Create the empty database. Raises RestoreError when the server lacks something for the backup."""
        with self.host.server.connect(autocommit=True) as connection:
            _require_createdb(connection, self.host.server.label)
            require_fitting(connection, manifest, self.host.server.label, owners=self.options.owners)
        scratch = Scratch(self.name, manifest.source, manifest.backup_id, self.owner)
        details = PostgresDetails.of(manifest)
        self.host.create(scratch, details.database, owned=self.options.owners, encoding=details.client_encoding)

    def lacks_for_owners(self, reader: BackupReader) -> str:
        """Reason why a copy with owners and grants cannot be tried here; empty: it can."""
        manifest, label = reader.manifest, self.host.server.label
        details = PostgresDetails.of(manifest)
        with self.host.server.connect(autocommit=True) as connection:
            try:
                require_fitting(connection, manifest, label, owners=True)
                definitions = read_part(reader, self.options.only, self.options.leave_out).definitions(owners=True)
                require_rights(connection, definitions, details.python_codec, label)
            except RestoreError as error:
                return error.what
            # what no archive of definitions tells beforehand
            more = details.large_objects or details.settings
            if more and not rights_of(connection).superuser:
                return f"Owners of large objects, and settings of databases, are for superusers on {label}."
        return ""

    def restore(self, reader: BackupReader, cancellation: Cancellation) -> dict[str, float]:
        """Restore the backup, and return seconds by phase."""
        return Restore(self.server, self.host.production(), reader, self.options, cancellation).run()

    def prove(self, reader: BackupReader, cancellation: Cancellation) -> Proof:
        """Compare the scratch with the backup. Raises UnequalError."""
        return prove(self.quiet, reader, cancellation, partial(self._defined, reader, cancellation), self.options)

    @property
    def quiet(self) -> PostgresServer:
        """Address at which no login trigger of the copy writes into it, if the role may have it so."""
        with self.host.server.connect(autocommit=True) as connection:
            return self.server.quiet() if may_be_quiet(connection) else self.server

    @contextmanager
    def _defined(self, reader: BackupReader, cancellation: Cancellation) -> Iterator[PostgresServer]:
        """Make another scratch, with the definitions alone, within the block."""
        other = replace(self, name=scratch_name(reader.manifest.source))
        other.create(reader.manifest)
        try:
            Restore(other.server, self.host.production(), reader, self.options, cancellation).define()
            yield other.quiet
        finally:
            other.drop()

    def identify(self) -> str:
        """Return the oid of the database. Raises SourceError."""
        return str(read_identity(self.server).database_oid)

    def ask(self, query: str) -> Any:
        """Return the first value that a query finds, in a transaction that writes nothing. Raises RestoreError."""
        with self.server.connect() as connection:
            connection.read_only = True
            try:
                row = connection.execute(query.encode(connection.info.encoding)).fetchone()
            except Error as error:
                raise RestoreError(
                    message(error.diag.message_primary or str(error).strip(), error.sqlstate),
                    "Run the query in production too. If it fails there, correct the query in sources.yaml.",
                ) from error
        return row[0] if row else None

    def keep(self, name: str) -> None:
        """Rename the proven copy; see `engines.contract.ScratchTarget`."""
        keep(self.host.server, self.host.list_scratches(), self.name, name, self.host.production)

    def is_kept(self, name: str) -> bool:
        """Say whether this scratch was renamed so."""
        return is_kept(self.host.server, self.name, name)

    def drop(self) -> None:
        """Drop the scratch, if it is still there."""
        self.host.drop(self.name)


def _locale(connection: Connection[TupleRow], properties: dict[str, Any]) -> str:
    """Write encoding and locale of the source as options of CREATE DATABASE."""
    words = {"ENCODING": properties["encoding"]}
    words |= {word: properties[column] for column, word in _LOCALE_WORDS.items() if properties.get(column)}
    provider = _PROVIDERS[properties.get("datlocprovider", "c")]
    if connection.info.server_version >= 150_000:
        words["LOCALE_PROVIDER"] = provider
    if locale := properties.get("datlocale") or properties.get("daticulocale"):
        words[f"{provider.upper()}_LOCALE"] = locale
    return " ".join(f"{word} {literal(value)}" for word, value in words.items())


def _require_createdb(connection: Connection[TupleRow], label: str) -> None:
    query = "SELECT rolcreatedb OR rolsuper, rolname::text FROM pg_catalog.pg_roles WHERE rolname = current_user"
    ((may, role),) = connection.execute(query).fetchall()
    if not may:
        raise RestoreError(
            f"The role {role} may not create databases on {label}.",
            f"As a superuser: ALTER ROLE {quoted(role)} CREATEDB;",
        )


if TYPE_CHECKING:
    _server: type[CopyServer] = ScratchServer
    _scratch: type[ScratchTarget] = ScratchDatabase
