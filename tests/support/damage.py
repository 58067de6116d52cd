"""What disks and people do to stored objects."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backup_playbook.repository.store import ObjectStore


def flip_a_bit(file: Path) -> None:
    """In the middle. `file` is where the S3 gateway keeps an object; what the gateway knows of the object stays."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def refuse_to_read(monkeypatch: pytest.MonkeyPatch, store: ObjectStore, refused: Callable[[str], bool]) -> None:
    """As a store answers for an object below which the disk is failing. refused: by key; in the place of an earlier
    one."""
    real = type(store.client).get_object

    def read(**request: Any) -> Any:
        if refused(request["Key"]):
            raise ClientError({"Error": {"Code": "InternalError", "Message": "input/output error"}}, "GetObject")
        return real(store.client, **request)

    monkeypatch.setattr(store.client, "get_object", read)
