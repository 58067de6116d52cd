"""Places that are made for one restore, found again when their worker was killed, and removed: what engines share."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from backup_playbook.engines.contract import Target

SCRATCH_NAME = re.compile(r"scratch_[a-z0-9_]{1,40}_[0-9a-f]{8}")


@dataclass(frozen=True)
class Scratch:
    """A scratch database on a server. owner: who made it (a DAG run); empty, as all but `name`, without a mark."""

    name: str
    source: str = ""
    backup_id: str = ""
    owner: str = ""
    created_at: datetime | None = None


class ScratchHost(Protocol):
    """A server that scratch databases are made on."""

    def list_scratches(self) -> Sequence[Scratch]:
        """All that there are, also those of other runs and of killed workers. Raises SourceError."""
        ...

    def drop(self, name: str) -> None:
        """Does nothing when it is gone. Raises GuardError, and drops nothing, when it is not a scratch of ours."""
        ...


class ScratchTarget(Target, Protocol):
    """A scratch as the target of one restore. name: from `scratch_name`."""

    @property
    def name(self) -> str: ...

    @property
    def host(self) -> ScratchHost: ...

    @property
    def url(self) -> str:
        """What applications take as DATABASE_URL; holds the password."""
        ...


def scratch_name(source: str) -> str:
    """`scratch_shop_1f3a9c02`: never the same twice."""
    return f"scratch_{re.sub('[^a-z0-9]+', '_', source.lower())[:40]}_{secrets.token_hex(4)}"
