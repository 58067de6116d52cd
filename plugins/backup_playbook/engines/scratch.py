"""Places that are made for one restore, found again when their worker was killed, and removed: what engines share."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime

SCRATCH_NAME = re.compile(r"scratch_[a-z0-9_]{1,40}_[0-9a-f]{8}")


@dataclass(frozen=True)
class Scratch:
    """A scratch database on a server. owner: who made it (a DAG run); empty, as all but `name`, without a mark."""

    name: str
    source: str = ""
    backup_id: str = ""
    owner: str = ""
    created_at: datetime | None = None


def scratch_name(source: str) -> str:
    """`scratch_shop_1f3a9c02`: never the same twice."""
    return f"scratch_{re.sub('[^a-z0-9]+', '_', source.lower())[:40]}_{secrets.token_hex(4)}"
