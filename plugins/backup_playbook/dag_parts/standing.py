"""How well a source is protected at this moment, in a sentence for people who have just heard of a failure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_playbook.config import load_config
from backup_playbook.core.progress import human_age


@dataclass(frozen=True)
class LastVerified:
    """The newest verified backup of a source; `backup_id` is empty when there is none."""

    backup_id: str = ""
    age: timedelta = timedelta()
    rpo: timedelta = timedelta.max

    def sentence(self) -> str:
        if not self.backup_id:
            return "It has no verified backup at all."
        late = f", older than the RPO of {human_age(self.rpo)}" if self.age > self.rpo else ""
        return f"Its newest verified backup is `{self.backup_id}`, {human_age(self.age)} old{late}."


def last_verified(source: str) -> LastVerified:
    """One listing, in a hurry. Raises PlaybookError when the repository does not answer."""
    from backup_playbook.dag_parts.connections import catalog
    from backup_playbook.repository.client import HURRIED

    config = load_config()
    backups = catalog(config, config.source(source).repository, HURRIED).backups(source)
    newest = next((entry for entry in backups if entry.verified), None)
    if newest is None:
        return LastVerified()
    return LastVerified(newest.backup_id, datetime.now(UTC) - newest.taken_at, config.objectives_of(source).rpo)


def standings(sources: Iterable[str]) -> Iterator[str]:
    """A line for each source. Whatever fails is a line too, the last one: the message must go out."""
    try:
        for name in sources:
            yield f"*{name}*: {last_verified(name).sentence()}"
    except Exception as error:  # noqa: BLE001
        yield f"How old the newest verified backups are cannot be told: {getattr(error, 'what', error)}"
