"""The keys of a source, from the Airflow connections that encryption.yaml names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from backup_playbook.config import GpgPassphrase, GpgRecipients, PlaybookConfig
from backup_playbook.connections.lookup import password
from backup_playbook.core.errors import ConfigError
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.encryption import Encryption, Keyring
from backup_playbook.streams.processes import Cancellation


@contextmanager
def codec(config: PlaybookConfig, source: str, cancellation: Cancellation, *, decrypt: bool = False) -> Iterator[Codec]:
    """Make the codec of a source's objects. decrypt: fetch the private key, where it is configured."""
    level = config.source(source).compression_level
    found = encryption(config, source, decrypt=decrypt)
    if found is None:
        yield Codec(level)
        return
    with Keyring(found, cancellation) as keyring:
        yield Codec(level, keyring)


def encryption(config: PlaybookConfig, source: str, *, decrypt: bool) -> Encryption | None:
    """Find the keys of a source. Without the private key's connection, they cannot decrypt."""
    settings = config.encryption_of(source)
    where = f"encryption.yaml: encryption.{config.source(source).encryption}"
    match settings:
        case None:
            return None
        case GpgPassphrase():
            return Encryption(passphrase=password(settings.connection, f"{where}.connection"))
        case GpgRecipients():
            public = settings.public_keys.read_bytes()
            private = _private_key(settings, where) if decrypt else None
            return Encryption(recipients=settings.recipients, public_keys=public, private_key=private)


def _private_key(settings: GpgRecipients, where: str) -> bytes | None:
    if settings.private_key_connection is None:
        return None
    try:
        return password(settings.private_key_connection, f"{where}.private_key_connection").encode()
    except ConfigError:
        return None  # only some queues' workers have it; the evidence then says that the content was not opened
