"""Object stores: the catalogs of the configured repositories, and buckets that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.config import Config

from backup_playbook.config import OtherBucket, PlaybookConfig
from backup_playbook.connections.lookup import airflow_connection
from backup_playbook.core.errors import ConfigError
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import client_config
from backup_playbook.repository.s3errors import explained
from backup_playbook.repository.store import ObjectStore, StoreOptions

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def catalog(config: PlaybookConfig, repository: str, client: Config | None = None) -> Catalog:
    """Open the catalog of a configured repository, through the S3Hook's session. client: settings that differ."""
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
    """Say whether one server can copy between two repositories by itself."""
    first, second = config.repository(one), config.repository(other)
    return (first.connection, first.region) == (second.connection, second.region)


def other_bucket(config: PlaybookConfig, bucket: OtherBucket, named_by: str, folder: str = "") -> ObjectStore:
    """Open a bucket that is no repository; folder: below its prefix."""
    client = _s3_client(config, bucket.connection, named_by, bucket.region)
    return ObjectStore(client, bucket=bucket.bucket, prefix=f"{bucket.prefix or ''}/{folder}")
