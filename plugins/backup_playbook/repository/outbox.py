"""Messages that could not be delivered yet: one small object each below `outbox/`.

Nothing in it is ever changed, so that workers need no agreement: two that deliver at once say a thing twice, none
loses one.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from backup_playbook.core.naming import evidence_stamp, stamp_time
from backup_playbook.repository.store import ObjectStore

FOLDER = "outbox/"
KEPT = timedelta(days=7)
AT_ONCE = 20

log = logging.getLogger(__name__)

_KEY = re.compile(rf"{FOLDER}(\d{{8}}T\d{{9}}Z)-[0-9a-f]{{6}}\.json")


@dataclass(frozen=True)
class Waiting:
    """A message in the outbox, as it was put."""

    key: str
    since: datetime
    body: bytes


class Outbox:
    """The outbox of one repository. Every method raises RepositoryError when the store refuses or fails."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @property
    def url(self) -> str:
        """Place of the outbox, for messages and logs."""
        return f"{self._store.url}/{FOLDER}"

    def put(self, body: bytes, now: datetime) -> None:
        """Add a message."""
        self._store.put(f"{FOLDER}{evidence_stamp(now)}-{secrets.token_hex(3)}.json", body)

    def waiting(self, now: datetime) -> Iterator[Waiting]:
        """The oldest AT_ONCE messages, oldest first. Messages older than KEPT are logged and removed instead."""
        keys = [item.key for item in islice(self._store.list(FOLDER), AT_ONCE)]
        for key, match in ((key, _KEY.fullmatch(key)) for key in keys):
            if not match:
                continue  # not ours
            item = Waiting(key, stamp_time(match[1]), self._store.get(key))
            if item.since < now - KEPT:
                log.warning("Dropped from %s after %d days: %s", self.url, KEPT.days, item.body.decode())
                self.remove(item)
            else:
                yield item

    def remove(self, item: Waiting) -> None:
        """Remove a message."""
        self._store.delete([item.key])
