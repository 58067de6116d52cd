"""How our S3 clients behave: patient with a store that stumbles, never for ever."""

from __future__ import annotations

from botocore.config import Config

CONNECT_SECONDS = 10
READ_SECONDS = 60
ATTEMPTS = 5


def client_config(streams: int) -> Config:
    """For a client that carries `streams` uploads or downloads at once, each with parts in flight."""
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
"""Laid over client_config where something more urgent waits: give up within a quarter of a minute."""
