"""Script restore.sh: it restores a backup with stock tools, without Airflow and this project.

Names of tables are data: they reach bash only through shlex.quote, and psql only as an argument or as checked SQL.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.core.progress import human_bytes
from backup_playbook.core.words import EngineWords
from backup_playbook.engines.postgres.archive import AFTER_ATTACH, ATTACH, LAST
from backup_playbook.engines.postgres.copy_commands import copy_from_line
from backup_playbook.engines.postgres.database_properties import setting_statements
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.postgres.encodings import NO_ENCODING
from backup_playbook.engines.postgres.excluded import has_cron
from backup_playbook.engines.postgres.session import SETTINGS, libpq_options
from backup_playbook.engines.stock_tools import fetched, fill, one_line

_PASSWORDS = {
    True: "with their passwords",
    False: "without passwords (set them with ALTER ROLE ... PASSWORD)",
    None: "with their passwords where these could be read",
}
_TEMPLATE = Path(__file__).with_name("restore.sh.template")


def render(manifest: Manifest, repository_url: str) -> str:
    """Write the script for a backup."""
    details = PostgresDetails.of(manifest)
    properties = details.database
    amount = EngineWords().amount(len(manifest.tables), manifest.rows)
    words = {
        "VERSION": details.server_version,
        "MAJOR": str(details.major),
        "LOCALE": one_line(f"The source had encoding {properties['encoding']}, collation {properties['datcollate']}."),
        "OPTIONS": libpq_options(SETTINGS),
        "ENCODING": details.encoding,
        "NAMES": _encoding_of_names(manifest),
        "PASSWORDS": _PASSWORDS[details.role_passwords],
        "ATTACH": ATTACH,
        "AFTER_ATTACH": AFTER_ATTACH,
        "LAST": LAST,
        "WANTED": "without_cron" if has_cron(manifest) else "cat",
        "SUMMARY": f"{amount}, {human_bytes(manifest.content_bytes)}",
        "BODY": "\n".join(_body(manifest)),
    }
    return fill(_TEMPLATE, manifest, repository_url, words)


def _body(manifest: Manifest) -> Iterator[str]:
    by_kind: dict[ObjectKind, list[StoredObject]] = {kind: [] for kind in ObjectKind}
    for item in manifest.objects:
        by_kind[item.kind].append(item)
    (schema,), (globals_,) = by_kind[ObjectKind.SCHEMA], by_kind[ObjectKind.GLOBALS]
    yield f"[[ ${{GLOBALS:-0}} != 1 ]] || globals {fetched(globals_)}"
    yield f'fetch {fetched(schema)} > "$work/schema" || fail "The schema could not be read."'
    yield 'contents || fail "The definitions could not be read."'
    definitions = '"${archive[@]}" --section=pre-data -L "$work/contents" "$work/schema"'
    yield f'{definitions} || fail "The definitions could not be restored."'
    for item in by_kind[ObjectKind.LARGE_OBJECTS]:
        yield f'fetch {fetched(item)} | "${{archive[@]}}" || fail "The large objects could not be restored."'
    yield from _rows(manifest, by_kind)
    yield 'echo "building indexes and constraints" >&2'
    yield 'post_data || fail "Indexes or constraints could not be restored."'
    if settings := "\n".join(setting_statements(PostgresDetails.of(manifest).database)):
        failed = 'fail "The settings of the database could not be applied."'
        apply = f"PGCLIENTENCODING={_encoding_of_names(manifest)} sql <<< {_word(manifest, settings)}"
        yield f"[[ ${{OWNERS:-0}} != 1 ]] || {apply} || {failed}"
    yield 'event_triggers || fail "Event triggers could not be restored."'


def _rows(manifest: Manifest, by_kind: dict[ObjectKind, list[StoredObject]]) -> Iterator[str]:
    # those of extensions first: values of their types may need them
    needed = {part.object for table in manifest.tables if table.kind == "extension" for part in table.parts}
    for item in by_kind[ObjectKind.PACK]:
        if item.name in needed:
            yield f"script {fetched(item)} --single-transaction"
    streams = {item.name: item for item in by_kind[ObjectKind.TABLE]}
    for table in manifest.tables:
        copy = _word(manifest, copy_from_line(table.target, table.columns))
        for part in table.parts:
            if part.object in streams:
                yield f"load {fetched(streams[part.object])} {copy}"
    for item in (*by_kind[ObjectKind.PACK], *by_kind[ObjectKind.SEQUENCES]):
        if item.name not in needed:
            yield f"script {fetched(item)} --single-transaction"
    yield "load_later"


def _encoding_of_names(manifest: Manifest) -> str:
    """Encoding of names in the script itself."""
    details = PostgresDetails.of(manifest)
    return NO_ENCODING if details.client_encoding == "LATIN1" != details.encoding else "UTF8"


def _word(manifest: Manifest, text: str) -> str:
    """Quote a text for bash; with the very bytes of the database, where these are of no encoding."""
    if _encoding_of_names(manifest) == "UTF8":
        return shlex.quote(text)
    octal = "".join(rf"\{byte:03o}" for byte in text.encode(PostgresDetails.of(manifest).python_codec))
    return f"$'{octal}'"
