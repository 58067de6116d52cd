"""MinIO, a second real S3 server: lifecycle, encryption and versions as others than versitygw do them.

For tests only: it is under the AGPL, and archived upstream. Nothing that is shipped starts it.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from typing import ClassVar

from embedded.binaries import GoProgram, binary
from embedded.processes import LOOPBACK
from embedded.s3 import S3Gateway

MINIO = GoProgram("minio", "github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c")


class Minio(S3Gateway):
    """Its files are no plain objects: tests damage nothing there. It encrypts with a key of its own, `tests`."""

    name: ClassVar[str] = "minio"

    def command(self, port: int) -> Sequence[str]:
        return [str(binary(MINIO)), "server", "--quiet", "--address", f"{LOOPBACK}:{port}", str(self.buckets)]

    def environment(self) -> Mapping[str, str]:
        return {
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_SITE_REGION": self.region,
            "MINIO_KMS_SECRET_KEY": f"tests:{self.state('kms_key')}",
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }

    def first_state(self) -> Mapping[str, str]:
        return {**super().first_state(), "kms_key": base64.b64encode(secrets.token_bytes(32)).decode()}
