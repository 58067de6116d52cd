"""Parts that the restore.sh of all engines share: fetch an object, and compare its digests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from backup_playbook.core.model import Manifest, StoredObject

_FETCH = Path(__file__).with_name("fetch.sh")
_KEYS = {
    "none": "",
    "gpg_recipients": "\n# gpg must hold the private key of one of: {recipients}.",
    "gpg_passphrase": "\n# BACKUP_PASSPHRASE: the passphrase of the backups.",
}
_DECODERS = {
    "none": "zstd -dc",
    "gpg_recipients": "gpg --batch --quiet --decrypt | zstd -dc",
    "gpg_passphrase": "gpg --batch --quiet --pinentry-mode loopback --passphrase-fd 3 --decrypt 3< <(printf %s "
    '"${BACKUP_PASSPHRASE:?}") | zstd -dc',
}


def fill(template: Path, manifest: Manifest, repository_url: str, more: Mapping[str, str]) -> str:
    """Fill the template's `@WORDS@`: those of every backup, and `more`."""
    method = manifest.encryption.method
    tools = ["zstd"] if method == "none" else ["gpg", "zstd"]
    words = {
        "BACKUP": manifest.backup_id,
        "SOURCE": manifest.source,
        "TAKEN": manifest.snapshot_at.isoformat(sep=" ", timespec="seconds"),
        "TOOLS": "".join(f"{tool}, " for tool in tools),
        "TOOL_WORDS": " ".join(tools),
        "KEY": one_line(_KEYS[method].format(recipients=", ".join(manifest.encryption.recipients))),
        "REPOSITORY": shlex.quote(repository_url),
        "DECODE": _DECODERS[method],
        **more,
    }
    text = template.read_text().replace("@FETCH@\n", _FETCH.read_text())
    return re.sub(r"@([A-Z_]+)@", lambda match: words[match[1]], text)


def fetched(item: StoredObject) -> str:
    """Write the arguments of `fetch` for an object."""
    return f"{shlex.quote(item.name)} {item.stored_sha256} {item.content_sha256}"


def one_line(text: str) -> str:
    """Remove line breaks for a comment: one in the name of a locale or recipient must not begin a command."""
    return text[:1] + text[1:].replace("\n", " ").replace("\r", " ")
