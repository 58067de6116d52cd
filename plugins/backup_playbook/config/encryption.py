"""encryption.yaml, as strict models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from backup_playbook.config.strict import Strict
from backup_playbook.config.values import ConnectionId, FileOfTheFolder, Name, NonEmpty


class GpgRecipients(Strict):
    """Encryption to public keys. Workers that back up need no private key, and cannot read old backups."""

    method: Literal["gpg_recipients"]
    recipients: Annotated[tuple[NonEmpty, ...], Field(strict=False, min_length=1)] = Field(
        description="Fingerprints or e-mail addresses, at least one. Add a second key that lies in a safe.",
    )
    public_keys: FileOfTheFolder = Field(
        description="File with the recipients' public keys (`gpg --export --armor`), relative to this folder.",
    )
    private_key_connection: ConnectionId | None = Field(
        default=None,
        description=(
            "Airflow connection whose password is the private key. Only for workers that verify content or restore."
        ),
    )


class GpgPassphrase(Strict):
    """Encryption with one passphrase, which every worker knows."""

    method: Literal["gpg_passphrase"]
    connection: ConnectionId = Field(description="Airflow connection whose password is the passphrase.")


Encryption = Annotated[GpgRecipients | GpgPassphrase, Field(discriminator="method")]


class EncryptionFile(Strict):
    """Encryption of backups before they leave the worker."""

    encryption: Mapping[Name, Encryption]
