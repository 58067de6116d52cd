"""Settings of our S3 clients: patient with a store that stumbles, never for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.retries.standard import ExponentialBackoff, RetryContext

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 10
READ_SECONDS = 60
ATTEMPTS = 5
BUSY_ATTEMPTS = 12
"""Attempts while the store answers that it is overloaded: with two failures in five, one request in 60,000 is given
up."""
BUSY = frozenset((429, 503))


def client_config(streams: int) -> Config:
    """Settings of a client that carries `streams` uploads or downloads at once, each with parts in flight."""
    return Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=max(10, 4 * streams),
        tcp_keepalive=True,
        # every object travels with our own SHA-256 and is compared with its manifest: botocore's CRCs in addition cost
        # time, and some S3 compatibles reject them
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


HURRIED = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=3, read_timeout=5)
"""Settings over client_config where something more urgent waits: give up within a quarter of a minute."""


def be_patient(client: S3Client) -> None:
    """Make this client try again also where botocore gives up.

    botocore counts the retries of all threads against one quota, and lets a request fail at its second try while a busy
    store answers most of them. Does nothing to a client that is configured otherwise, and nothing the second time.
    """
    if (client.meta.config.retries or {}).get("total_max_attempts") == ATTEMPTS:  # type: ignore[attr-defined]
        # last: botocore's own answer, when it has one, comes first
        client.meta.events.register_last("needs-retry.s3", _try_again, unique_id="backup-playbook-patience")  # type: ignore[arg-type]


def _try_again(attempts: int, response: Any, **_: Any) -> float | None:
    """Seconds to wait before the next try; None: no other one.

    response: None when nothing was answered.
    """
    if response is None or attempts >= BUSY_ATTEMPTS or response[0].status_code not in BUSY:
        return None
    return float(ExponentialBackoff().delay_amount(RetryContext(attempts, None, response[1], response[0])))
