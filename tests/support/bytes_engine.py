"""An engine without a database behind it, for tests of the repository."""

from collections.abc import Mapping
from datetime import UTC, datetime

from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.core.words import EngineWords
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.streams.blocks import Blocks, drain
from backup_playbook.streams.processes import Cancellation


class BytesEngine:
    """A source and its engine; the objects of a backup are `contents`, by name."""

    name = "bytes"
    words = EngineWords()

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = contents

    def dump(self, writer: BackupWriter, cancellation: Cancellation) -> Manifest:
        objects = [writer.write(name, ObjectKind.TABLE, [content]) for name, content in self._contents.items()]
        now = datetime.now(UTC)
        return Manifest(
            backup_id=writer.backup_id,
            source=writer.source,
            engine=self.name,
            started_at=writer.started_at,
            snapshot_at=now,
            finished_at=now,
            tools={},
            compression=writer.codec.compression,
            encryption=writer.codec.encryption,
            details={},
            objects=tuple(objects),
            tables=(),
        )

    def summary(self, manifest: Manifest) -> str:
        return self.words.amount(len(manifest.tables), manifest.rows)

    def check_content(self, manifest: Manifest, item: StoredObject, content: Blocks) -> None:
        drain(content)

    def check_manifest(self, manifest: Manifest) -> list[str]:
        return []

    def restore_script(self, manifest: Manifest, repository_url: str) -> str:
        return "#!/bin/sh\n"
