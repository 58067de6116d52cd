"""From names in the configuration and Airflow connections to what the layers below need: plain values and clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.mongo.hooks.mongo import MongoHook
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.config import Config
from psycopg import pq

from backup_playbook.config import (
    FilesSource,
    FilesTarget,
    GpgPassphrase,
    GpgRecipients,
    MongoSource,
    MongoTarget,
    OtherBucket,
    PlaybookConfig,
    PostgresSource,
    PostgresTarget,
)
from backup_playbook.config import Source as SourceSettings
from backup_playbook.core.errors import ConfigError
from backup_playbook.core.files_guard import DeleteLimits
from backup_playbook.core.model import Manifest
from backup_playbook.core.progress import human_bytes
from backup_playbook.engines.contract import Engine, Source
from backup_playbook.engines.files.bucket import BucketTree
from backup_playbook.engines.files.directory import DirectoryTree
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.source import FilesOptions
from backup_playbook.engines.files.source import FilesSource as LiveFiles
from backup_playbook.engines.files.trees import Tree
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.counts import count_documents
from backup_playbook.engines.mongodb.dump import MongoSource as LiveMongo
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.engines.postgres import dump
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.row_counts import count_rows
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import client_config
from backup_playbook.repository.s3errors import explained
from backup_playbook.repository.store import ObjectStore, StoreOptions
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.encryption import Encryption, Keyring
from backup_playbook.streams.processes import Cancellation

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_LIBPQ_KEYWORDS = frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())


def airflow_connection(connection_id: str, named_by: str) -> Connection:
    """Raises ConfigError with the command that creates what is missing; `named_by`: the file and path that names it."""
    try:
        return Connection.get(connection_id)
    except AirflowNotFoundException:
        raise ConfigError(
            f"Airflow has no connection {connection_id!r}, which {named_by} names.",
            f"Create it in the UI (Admin, Connections), with `airflow connections add {connection_id} ...`, or as the "
            f"environment variable AIRFLOW_CONN_{connection_id.upper()}.",
        ) from None


def catalog(config: PlaybookConfig, repository: str, client: Config | None = None) -> Catalog:
    """The catalog of a configured repository, through the S3Hook's session. client: where it is to differ."""
    settings = config.repository(repository)
    named_by = f"repositories.yaml: repositories.{repository}.connection"
    options = StoreOptions(
        storage_class=settings.storage_class,
        conditional_writes=settings.conditional_writes,
        checksums=settings.checksums,
        object_tags=settings.object_tags,
        server_side_encryption=settings.server_side_encryption or "",
        kms_key_id=settings.kms_key_id or "",
        equal_parts=settings.equal_parts,
    )
    s3 = _s3_client(config, settings.connection, named_by, settings.region, client)
    return Catalog(ObjectStore(s3, bucket=settings.bucket, prefix=settings.prefix, name=repository, options=options))


def _s3_client(
    config: PlaybookConfig, connection_id: str, named_by: str, region: str | None, client: Config | None = None
) -> S3Client:
    connection = airflow_connection(connection_id, named_by)
    # a config given to the hook replaces the connection's own config_kwargs; merged, theirs win
    theirs = Config(**connection.extra_dejson.get("config_kwargs", {})).merge(client or Config())
    streams = max(source.streams for source in config.sources.values())
    hook = S3Hook(aws_conn_id=connection_id, region_name=region, config=client_config(streams).merge(theirs))
    try:
        with explained(f"sign in with the Airflow connection {connection_id!r}"):  # a role is assumed here
            found: S3Client = hook.get_conn()
    except ValueError as error:
        raise ConfigError(
            f"The Airflow connection {connection_id!r}, which {named_by} names, makes no S3 client: {error}.",
            "Correct its `endpoint_url` and `region_name`.",
        ) from error
    return found


def same_endpoint(config: PlaybookConfig, one: str, other: str) -> bool:
    """Whether one server can copy between two repositories by itself."""
    first, second = config.repository(one), config.repository(other)
    return (first.connection, first.region) == (second.connection, second.region)


def live_source(config: PlaybookConfig, name: str) -> Source:
    """The source, bound to its connection."""
    settings = config.source(name)
    if isinstance(settings, MongoSource):
        server = mongo_server(settings, name)
        return LiveMongo(server, settings.streams, leave_out=settings.leave_out)
    if isinstance(settings, FilesSource):
        return files_source(config, name)
    return dump.PostgresSource(
        server=postgres_server(settings, name),
        streams=settings.streams,
        lock_timeout_seconds=settings.lock_timeout.total_seconds(),
        role_passwords=settings.role_passwords,
        without_rows=settings.without_rows,
    )


def files_source(config: PlaybookConfig, name: str) -> LiveFiles:
    """Raises ConfigError for a source that is no tree of files."""
    settings = files_settings(config, name)
    if bucket := settings.bucket:
        named_by = f"sources.yaml: sources.{name}.bucket.connection"
        tree: Tree = BucketTree(other_bucket(config, bucket, named_by), bucket.replication or "")
    else:
        tree = DirectoryTree(Path(settings.directory or "/nowhere"))
    return LiveFiles(tree, files_options(settings))


def other_bucket(config: PlaybookConfig, bucket: OtherBucket, named_by: str, folder: str = "") -> ObjectStore:
    """A bucket that is no repository; folder: below its prefix."""
    client = _s3_client(config, bucket.connection, named_by, bucket.region)
    return ObjectStore(client, bucket=bucket.bucket, prefix=f"{bucket.prefix or ''}/{folder}")


def files_settings(config: PlaybookConfig, name: str) -> FilesSource:
    settings = config.source(name)
    if not isinstance(settings, FilesSource):
        raise ConfigError(
            f"The source {name!r} is of the engine {settings.engine}.", "Choose a source whose engine is files."
        )
    return settings


def files_options(settings: FilesSource) -> FilesOptions:
    guard = settings.delete_guard
    return FilesOptions(
        DeleteLimits(guard.share, guard.number), settings.rehash_every, settings.storage_class, settings.streams
    )


def engine(config: PlaybookConfig, source: str) -> Engine:
    """The engine of a source."""
    engines: dict[str, Engine] = {known.name: known for known in (PostgresEngine(), MongoEngine(), FilesEngine())}
    return engines[config.source(source).engine]


def summary(engine: Engine, manifest: Manifest) -> str:
    """What a backup of a database holds: `12 tables, 3,000 rows; 1.3 GB stored as 69 MB`."""
    size = f"{human_bytes(manifest.content_bytes)} stored as {human_bytes(manifest.stored_bytes)}"
    return f"{engine.summary(manifest)}; {size}"


def rows_now(config: PlaybookConfig, name: str) -> dict[str, int]:
    """Rows by `schema.table`, or documents by `database.collection`, of the live source, gently counted."""
    settings = config.source(name)
    if isinstance(settings, MongoSource):
        return count_documents(mongo_server(settings, name))
    return count_rows(postgres_server(settings, name))


def postgres_server(settings: SourceSettings, name: str) -> PostgresServer:
    if not isinstance(settings, PostgresSource):
        raise ConfigError(f"The source {name!r} is of the engine {settings.engine}.", "Choose a Postgres source.")
    connection = airflow_connection(settings.connection, f"sources.yaml: sources.{name}.connection")
    return server_of(connection, settings.database)


def mongo_server(settings: MongoSource, name: str) -> MongoServer:
    server = mongo_server_of(settings.connection, f"sources.yaml: sources.{name}.connection", settings.database)
    if not server.database:
        raise ConfigError(
            f"Nothing says which database of its server the source {name!r} is.",
            f"Add `database` to sources.{name} in sources.yaml, or a schema to the connection {settings.connection!r}.",
        )
    return server


def mongo_server_of(connection_id: str, named_by: str, database: str | None = None) -> MongoServer:
    """database: another one than the connection names. Raises ConfigError."""
    kind = airflow_connection(connection_id, named_by).conn_type
    if kind != MongoHook.conn_type:
        raise ConfigError(
            f"The Airflow connection {connection_id!r}, which {named_by} names, is of the type {kind!r}.",
            f"Give it the type {MongoHook.conn_type!r} (MongoDB); `srv` in its extra is for addresses of mongodb+srv.",
        )
    hook = MongoHook(mongo_conn_id=connection_id)
    insecure = {"tls": True, "tlsAllowInvalidCertificates": True} if hook.allow_insecure else {}
    return MongoServer(hook.uri, database or hook.connection.schema or "", {**hook.extras, **insecure})


def target_server(config: PlaybookConfig, name: str) -> PostgresServer:
    """A server on which restores make their own databases; its connection names one that it may start from."""
    settings = _server_target(config, name)
    return server_of(airflow_connection(settings.connection, f"targets.yaml: targets.{name}.connection"))


def mongo_target(config: PlaybookConfig, name: str) -> MongoServer:
    connection = _server_target(config, name).connection
    return mongo_server_of(connection, f"targets.yaml: targets.{name}.connection", "admin").at_primary()


def _server_target(config: PlaybookConfig, name: str) -> PostgresTarget | MongoTarget:
    settings = config.target(name)
    if isinstance(settings, FilesTarget):
        raise ConfigError(f"The target {name!r} is a directory.", "Choose one that is a database server.")
    return settings


def server_of(connection: Connection, database: str | None = None) -> PostgresServer:
    """database: another one than the connection names."""
    keywords = {
        "host": connection.host,
        "port": str(connection.port or 5432),
        "dbname": database or connection.schema,
        "user": connection.login,
        # sslmode, sslrootcert, options ... as the Postgres provider takes them; its other extras are not libpq's
        **{key: str(value) for key, value in connection.extra_dejson.items() if key in _LIBPQ_KEYWORDS},
    }
    return PostgresServer({key: value for key, value in keywords.items() if value}, connection.password)


@contextmanager
def codec(config: PlaybookConfig, source: str, cancellation: Cancellation, *, decrypt: bool = False) -> Iterator[Codec]:
    """How the objects of a source are encoded; with `decrypt`, the private key is fetched where it is configured."""
    level = config.source(source).compression_level
    found = encryption(config, source, decrypt=decrypt)
    if found is None:
        yield Codec(level)
        return
    with Keyring(found, cancellation) as keyring:
        yield Codec(level, keyring)


def encryption(config: PlaybookConfig, source: str, *, decrypt: bool) -> Encryption | None:
    """The keys of a source. A worker without the private key's connection gets an Encryption that cannot decrypt."""
    settings = config.encryption_of(source)
    where = f"encryption.yaml: encryption.{config.source(source).encryption}"
    match settings:
        case None:
            return None
        case GpgPassphrase():
            return Encryption(passphrase=_secret(settings.connection, f"{where}.connection"))
        case GpgRecipients():
            public = settings.public_keys.read_bytes()
            private = _private_key(settings, where) if decrypt else None
            return Encryption(recipients=settings.recipients, public_keys=public, private_key=private)


def _private_key(settings: GpgRecipients, where: str) -> bytes | None:
    if settings.private_key_connection is None:
        return None
    try:
        return _secret(settings.private_key_connection, f"{where}.private_key_connection").encode()
    except ConfigError:
        return None  # only some queues' workers have it; the evidence then says that the content was not opened


def _secret(connection_id: str, named_by: str) -> str:
    secret: str | None = airflow_connection(connection_id, named_by).password
    if not secret:
        raise ConfigError(
            f"The Airflow connection {connection_id!r} has no password, where {named_by} expects the key.",
            "Put the passphrase, or the private key in ASCII armour, into its password field.",
        )
    return secret
