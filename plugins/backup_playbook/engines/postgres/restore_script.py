"""restore.sh: brings a backup back with stock tools, when neither Airflow nor this project is at hand.

Names of tables are data: they reach bash only through shlex.quote, and psql only as an argument or as checked SQL.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.core.progress import human_bytes
from backup_playbook.engines.postgres.archive import AFTER_ATTACH, ATTACH
from backup_playbook.engines.postgres.copy_commands import copy_from_line
from backup_playbook.engines.postgres.database_properties import setting_statements
from backup_playbook.engines.postgres.session import SETTINGS, libpq_options

_TEMPLATE = Path(__file__).with_name("restore.sh.template")
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


def render(manifest: Manifest, repository_url: str) -> str:
    method = manifest.encryption.method
    tools = ["zstd"] if method == "none" else ["gpg", "zstd"]
    properties = manifest.details["database"]
    words = {
        "BACKUP": manifest.backup_id,
        "SOURCE": manifest.source,
        "TAKEN": manifest.snapshot_at.isoformat(sep=" ", timespec="seconds"),
        "VERSION": manifest.details["server_version"],
        "MAJOR": str(manifest.details["server_version_number"] // 10_000),
        "TOOLS": "".join(f"{tool}, " for tool in tools),
        "TOOL_WORDS": " ".join(tools),
        "LOCALE": _one_line(f"The source had encoding {properties['encoding']}, collation {properties['datcollate']}."),
        "KEY": _one_line(_KEYS[method].format(recipients=", ".join(manifest.encryption.recipients))),
        "OPTIONS": libpq_options(SETTINGS),
        "ENCODING": manifest.details["encoding"],
        "REPOSITORY": shlex.quote(repository_url),
        "DECODE": _DECODERS[method],
        "ATTACH": ATTACH,
        "AFTER_ATTACH": AFTER_ATTACH,
        "SUMMARY": f"{len(manifest.tables)} tables, {manifest.rows} rows, {human_bytes(manifest.content_bytes)}",
        "BODY": "\n".join(_body(manifest)),
    }
    return re.sub(r"@([A-Z_]+)@", lambda match: words[match[1]], _TEMPLATE.read_text())


def _body(manifest: Manifest) -> Iterator[str]:
    by_kind: dict[ObjectKind, list[StoredObject]] = {kind: [] for kind in ObjectKind}
    for item in manifest.objects:
        by_kind[item.kind].append(item)
    (schema,), (globals_,) = by_kind[ObjectKind.SCHEMA], by_kind[ObjectKind.GLOBALS]
    yield f"[[ ${{GLOBALS:-0}} != 1 ]] || globals {_words(globals_)}"
    yield f'fetch {_words(schema)} > "$work/schema" || fail "The schema could not be read."'
    yield '"${archive[@]}" --section=pre-data "$work/schema" || fail "The definitions could not be restored."'
    for item in by_kind[ObjectKind.LARGE_OBJECTS]:
        yield f'fetch {_words(item)} | "${{archive[@]}}" || fail "The large objects could not be restored."'
    streams = {item.name: item for item in by_kind[ObjectKind.TABLE]}
    for table in manifest.tables:
        copy = shlex.quote(copy_from_line(table.target, table.columns))
        for part in table.parts:
            if part.object in streams:
                yield f"load {_words(streams[part.object])} {copy}"
    for item in (*by_kind[ObjectKind.PACK], *by_kind[ObjectKind.SEQUENCES]):
        yield f"script {_words(item)} --single-transaction"
    yield 'echo "building indexes and constraints" >&2'
    yield 'post_data || fail "Indexes or constraints could not be restored."'
    if settings := "\n".join(setting_statements(manifest.details["database"])):
        failed = 'fail "The settings of the database could not be applied."'
        yield f"[[ ${{OWNERS:-0}} != 1 ]] || sql <<< {shlex.quote(settings)} || {failed}"


def _words(item: StoredObject) -> str:
    return f"{item.name} {item.stored_sha256} {item.content_sha256}"


def _one_line(text: str) -> str:
    """For a comment: a line break in a locale's or a recipient's name must not begin a command."""
    return text[:1] + text[1:].replace("\n", " ").replace("\r", " ")
