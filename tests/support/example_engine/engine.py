"""Knowledge of a backup without its source, and the script that restores it without us."""

import shlex
from collections import Counter
from pathlib import Path

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.core.words import EngineWords
from backup_playbook.engines.contract import CopyOptions, Scope
from backup_playbook.engines.stock_tools import fetched, fill
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.blocks import Blocks, sha256_of
from tests.support.example_engine.database import SUFFIX
from tests.support.example_engine.dump import SqliteDetails

_TEMPLATE = Path(__file__).with_name("restore.sh.template")
_REMEDY = "Use another backup, or the off-site copy. If this one was just taken, run the backup again and report it."


class SqliteEngine:
    """See `engines.contract.DatabaseEngine`."""

    name = "sqlite"
    words = EngineWords(not_copied="the journal mode", undo_records=f"give it to sqlite3: sqlite3 shop{SUFFIX} < FILE")

    def summary(self, manifest: Manifest) -> str:
        return self.words.amount(len(manifest.tables), manifest.rows)

    def check_content(self, manifest: Manifest, item: StoredObject, content: Blocks) -> None:
        found = sha256_of(content)
        for table, part in manifest.parts_by_object.get(item.name, ()):
            if found != part.sha256:
                raise VerificationError(f"{item.name} has other rows of {table.name} than the manifest says.", _REMEDY)

    def check_manifest(self, manifest: Manifest) -> list[str]:
        kinds = {kind: [item.name for item in manifest.objects if item.kind is kind] for kind in ObjectKind}
        names = Counter(item.name for item in manifest.objects)
        problems = [f"It names {name} {count} times." for name, count in names.items() if count > 1]
        if len(kinds[ObjectKind.SCHEMA]) != 2:
            problems.append("It has not the two objects of definitions.")
        rows = sorted(part.object for table in manifest.tables for part in table.parts)
        if rows != sorted(kinds[ObjectKind.TABLE]):
            problems.append("Its tables, and its objects with rows, are not the same.")
        return problems

    def restore_script(self, manifest: Manifest, repository_url: str) -> str:
        body = "\n".join(f"    fetch {fetched(item)} || return 1" for item in manifest.objects)
        version = SqliteDetails.of(manifest).server_version
        words = {"BODY": body, "SUMMARY": self.summary(manifest), "VERSION": version}
        return fill(_TEMPLATE, manifest, repository_url, words)

    def scope(self, reader: BackupReader, options: CopyOptions) -> Scope:
        manifest = reader.manifest
        tables = [f"{table.namespace}.{table.name}" for table in manifest.tables]
        return Scope(tables, manifest.rows, manifest.content_bytes, left_out=())

    def database(self, manifest: Manifest) -> str:
        return SqliteDetails.of(manifest).database

    def undo_kept(self, name: str) -> str:
        return f"rm {shlex.quote(name + SUFFIX)}"
