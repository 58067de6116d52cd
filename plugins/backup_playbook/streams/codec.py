"""Encoding of content for the bucket, and back: zstd, then gpg when the source is encrypted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backup_playbook.core.model import EncryptionRecord
from backup_playbook.streams.blocks import Blocks
from backup_playbook.streams.compression import compress, decompress
from backup_playbook.streams.encryption import Keyring


@dataclass(frozen=True)
class Codec:
    """Compression and encryption of a source. `keyring` must be open (in its `with` block) while streams pass."""

    level: int = 1
    keyring: Keyring | None = None

    @property
    def suffix(self) -> str:
        """File name suffix of encoded objects."""
        return ".zst" if self.keyring is None else ".zst.gpg"

    @property
    def compression(self) -> str:
        """Compression, as the manifest names it."""
        return f"zstd level {self.level}"

    @property
    def encryption(self) -> EncryptionRecord:
        """Encryption, as the manifest names it."""
        return EncryptionRecord() if self.keyring is None else self.keyring.record

    @property
    def can_decode(self) -> bool:
        """False when content is encrypted to recipients and their private key is missing."""
        return self.keyring is None or self.keyring.can_decrypt

    def encode(self, blocks: Blocks) -> Iterator[bytes]:
        """Compress, then encrypt when there is a keyring."""
        packed = compress(blocks, self.level)
        return packed if self.keyring is None else self.keyring.encrypt(packed)

    def decode(self, blocks: Blocks, name: str) -> Iterator[bytes]:
        """Decrypt and decompress; `name` is for messages.

        Raises VerificationError or EncryptionError, at the latest at the end.
        """
        return decompress(blocks if self.keyring is None else self.keyring.decrypt(blocks, name), name)
