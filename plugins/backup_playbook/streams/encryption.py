"""Encryption with gpg, as a stream: to recipients (public keys) or with a passphrase.

Stock `gpg --decrypt` opens everything that is written here.
A keyring lives in a private temporary directory and only as long as it is used. Secrets reach gpg through file
descriptors, never through arguments or files. gpg knows of tampering only at the end of a stream: whoever consumes
`decrypt` must not commit anything before the stream has ended without an exception.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from backup_playbook.core.errors import EncryptionError, ProcessFailedError
from backup_playbook.core.model import EncryptionRecord
from backup_playbook.streams import processes
from backup_playbook.streams.blocks import Blocks
from backup_playbook.streams.processes import Cancellation

# gpg-agent's socket lies in a home: a deep TMPDIR would exceed the 108 bytes of a socket path
_HOMES = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108
_PREFIX = "backup-playbook-gpg-"
_ABANDONED_SECONDS = 60


@dataclass(frozen=True)
class Encryption:
    """Encryption of a source: to recipients, or with a passphrase.

    With recipients, the passphrase opens the private key. `passphrase` and `private_key` are secrets: they do not show
    in repr(). Raises EncryptionError when nothing would be protected.
    """

    recipients: tuple[str, ...] = ()
    public_keys: bytes = field(default=b"", repr=False)
    passphrase: str | None = field(default=None, repr=False)
    private_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.recipients and not self.passphrase:
            raise EncryptionError(
                "The encryption names no recipients, and its passphrase is empty: nothing would be protected.",
                "Put the passphrase into the Airflow connection of this encryption, or name recipients.",
            )
        if "\n" in (self.passphrase or ""):
            raise EncryptionError(
                "The passphrase has a line break: gpg would take its first line only.",
                "Put a passphrase of one line into the Airflow connection of this encryption.",
            )

    @property
    def record(self) -> EncryptionRecord:
        """Method and recipients, for the manifest."""
        if self.recipients:
            return EncryptionRecord(method="gpg_recipients", recipients=self.recipients)
        return EncryptionRecord(method="gpg_passphrase")

    @property
    def can_decrypt(self) -> bool:
        """Whether the private key, or the passphrase, is known."""
        return self.private_key is not None if self.recipients else self.passphrase is not None


class Keyring:
    """A temporary gpg home that holds the keys of one `Encryption`. Use as a context manager."""

    def __init__(self, encryption: Encryption, cancellation: Cancellation | None = None) -> None:
        self._encryption = encryption
        self._cancellation = cancellation or Cancellation()
        self._home: Path
        self._lock: int

    def __enter__(self) -> Self:
        _remove_abandoned_homes()
        self._home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_HOMES))
        self._lock = _lock(self._home)
        try:
            for name, keys in (("public", self._encryption.public_keys), ("private", self._encryption.private_key)):
                if keys:
                    self._import(name, keys)
            if self._encryption.public_keys:
                for recipient in self._encryption.recipients:
                    self._require(recipient)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    @property
    def record(self) -> EncryptionRecord:
        """Method and recipients, for the manifest."""
        return self._encryption.record

    @property
    def can_decrypt(self) -> bool:
        """Whether the private key, or the passphrase, is known."""
        return self._encryption.can_decrypt

    def encrypt(self, blocks: Blocks) -> Iterator[bytes]:
        """Encrypt to the recipients, or with the passphrase when there are none."""
        if not self._encryption.recipients:
            return self._with_passphrase(blocks, "--symmetric", "--cipher-algo", "AES256")
        words = [word for recipient in self._encryption.recipients for word in ("--recipient", recipient)]
        return self._stream(blocks, "--trust-model", "always", *words, "--encrypt")

    def decrypt(self, blocks: Blocks, name: str) -> Iterator[bytes]:
        """Decrypt; `name` is for messages.

        Raises EncryptionError when the key is wrong or the data was tampered with.
        """
        if not self._encryption.can_decrypt:
            raise EncryptionError(
                f"{name} is encrypted and this worker has no key that opens it.",
                "Run this task on the queue whose workers hold the private key, or name private_key_connection.",
            )
        try:
            yield from self._with_passphrase(blocks, "--decrypt")
        except ProcessFailedError as error:
            raise EncryptionError(
                f"{name} cannot be decrypted: {error.stderr.strip()}",
                "'Bad session key' or 'No secret key' mean a wrong key or passphrase: check the Airflow connection. "
                "Anything else means damaged or tampered data: use another backup.",
            ) from None

    def _with_passphrase(self, blocks: Blocks, *words: str) -> Iterator[bytes]:
        if self._encryption.passphrase is None:
            return self._stream(blocks, *words)
        return self._with_secret(blocks, self._encryption.passphrase, *words)

    def _with_secret(self, blocks: Blocks, passphrase: str, *words: str) -> Iterator[bytes]:
        read_end, write_end = os.pipe()
        try:
            os.write(write_end, passphrase.encode())
            os.close(write_end)
            loopback = ("--pinentry-mode", "loopback", "--passphrase-fd", str(read_end))
            yield from self._stream(blocks, *loopback, *words, pass_fds=(read_end,))
        finally:
            os.close(read_end)

    def _stream(self, blocks: Blocks, *words: str, pass_fds: tuple[int, ...] = ()) -> Iterator[bytes]:
        # what passes is compressed already
        argv = [*self._gpg, "--compress-algo", "none", *words]
        return processes.pipe(blocks, argv, cancellation=self._cancellation, pass_fds=pass_fds)

    @property
    def _gpg(self) -> list[str]:
        return [
            "gpg",
            "--homedir",
            str(self._home),
            "--batch",
            "--no-tty",
            "--quiet",
            "--no-options",
            "--no-auto-key-locate",
        ]

    def _import(self, name: str, keys: bytes) -> None:
        try:
            processes.run([*self._gpg, "--import"], stdin=[keys])
        except ProcessFailedError as error:
            raise EncryptionError(
                f"The {name} key cannot be imported: {error.stderr}",
                f"Export it again: `gpg --armor --export{'-secret-keys' if name == 'private' else ''} <recipient>`.",
            ) from None

    def _require(self, recipient: str) -> None:
        """Encrypt nothing to a recipient: finds a missing, expired, revoked or signing-only key in time."""
        try:
            processes.run([*self._gpg, "--trust-model", "always", "--recipient", recipient, "--encrypt"])
        except ProcessFailedError as error:
            raise EncryptionError(
                f"Nothing can be encrypted for the recipient {recipient!r}: {error.stderr}",
                f"Put a valid key into the file that public_keys names: `gpg --armor --export {recipient}`.",
            ) from None

    def _remove(self) -> None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=False, capture_output=True, timeout=10
            )
        shutil.rmtree(self._home, ignore_errors=True)
        os.close(self._lock)


def _lock(home: Path) -> int:
    """Lock a home for the lifetime of this process; raises BlockingIOError when another process holds it."""
    descriptor = os.open(home / "in-use", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_abandoned_homes() -> None:
    """Remove the keys that a killed worker left behind."""
    for home in _HOMES.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # of another user, in use, or just being removed by another process
            if time.time() - home.stat().st_mtime > _ABANDONED_SECONDS:
                os.close(_lock(home))
                shutil.rmtree(home)
