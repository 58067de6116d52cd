"""An S3 server on 127.0.0.1: versitygw over a directory, with versioning, conditional writes and checksums."""

import contextlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import boto3
from botocore.config import Config

from embedded.binaries import VERSITYGW, binary
from embedded.daemon import Daemon
from embedded.processes import LOOPBACK

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DEFAULT_REGION = "us-east-1"


class S3Gateway(Daemon):
    """Objects are plain files below `directory`/buckets: bucket, then key. Tests damage backups there.

    Bucket names have at least 3 characters. Not implemented by the gateway (HTTP 501): lifecycle, replication,
    encryption and logging configuration.
    """

    name: ClassVar[str] = "versitygw"

    def __init__(self, directory: Path, region: str = DEFAULT_REGION) -> None:
        super().__init__(directory)
        self.region = region
        self.buckets = self.directory / "buckets"
        self._versions = self.directory / "versions"
        self._metadata = self.directory / "metadata"

    def command(self, port: int) -> Sequence[str]:
        for directory in (self.buckets, self._versions, self._metadata):
            directory.mkdir(exist_ok=True)
        gateway = [
            str(binary(VERSITYGW)),
            "--quiet",
            "--keep-alive",
            "--region",
            self.region,
            "--port",
            f"{LOOPBACK}:{port}",
        ]
        sidecar = [] if _has_extended_attributes(self.buckets) else ["--sidecar", str(self._metadata)]
        return [*gateway, "posix", "--versioning-dir", str(self._versions), *sidecar, str(self.buckets)]

    def environment(self) -> Mapping[str, str]:
        return {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}

    def first_state(self) -> Mapping[str, str]:
        return {"access_key": f"EMBEDDED{secrets.token_hex(6).upper()}", "secret_key": secrets.token_hex(20)}

    @property
    def endpoint_url(self) -> str:
        return self.url

    @property
    def access_key(self) -> str:
        return self.state("access_key")

    @property
    def secret_key(self) -> str:
        return self.state("secret_key")

    def client(self, config: Config | None = None, endpoint_url: str | None = None) -> "S3Client":
        """endpoint_url: of a proxy in front of the gateway, if one is to be used."""
        return boto3.client(
            "s3",
            endpoint_url=endpoint_url or self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=config,
        )

    def create_bucket(self, name: str, *, versions: bool = False) -> None:
        """Does nothing when it exists. versions: it keeps them."""
        client = self.client()
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=name)
        if versions:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def shell_environment(self) -> dict[str, str]:
        """What the aws command line and boto3 read."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }


def _has_extended_attributes(directory: Path) -> bool:
    """The gateway keeps metadata in them, and in files beside the objects where the file system has none."""
    try:
        os.setxattr(directory, "user.backup-playbook", b"")
    except (OSError, AttributeError):
        return False
    return True
