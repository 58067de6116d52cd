"""The protection of a source at this moment, in a sentence for people who have just heard of a failure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from backup_playbook.config import load_config
from backup_playbook.core.progress import human_age

if TYPE_CHECKING:
    from backup_playbook.connections.repositories import Repositories


@dataclass(frozen=True)
class LastVerified:
    """The newest verified backup of a source; `backup_id` is empty when there is none.

    where: the repository, when it is not the primary one, because that one does not answer.
    """

    backup_id: str = ""
    age: timedelta = timedelta()
    rpo: timedelta = timedelta.max
    where: str = ""

    def sentence(self) -> str:
        """Return the sentence."""
        where = f" in `{self.where}`, which is all that can be reached" if self.where else ""
        if not self.backup_id:
            return f"It has no verified backup at all{where}."
        late = f", older than the RPO of {human_age(self.rpo)}" if self.age > self.rpo else ""
        return f"Its newest verified backup is `{self.backup_id}`{where}, {human_age(self.age)} old{late}."


def last_verified(source: str, asked: Repositories | None = None) -> LastVerified:
    """List, in a hurry, the first repository that answers. Raises PlaybookError when none does."""
    from backup_playbook.connections.backups import Backups
    from backup_playbook.connections.repositories import Repositories
    from backup_playbook.core.recovery_points import is_sound

    config, now = load_config(), datetime.now(UTC)
    names = Backups(config, source).names
    name, backups = (asked or Repositories(config)).first(names, lambda catalog: catalog.backups(source))
    newest, where = next((entry for entry in backups if is_sound(entry, now)), None), "" if name == names[0] else name
    if newest is None:
        return LastVerified(where=where)
    rpo = config.objectives_of(source).rpo
    return LastVerified(newest.backup_id, now - newest.taken_at, rpo, where)


def protection_status(sources: Iterable[str]) -> Iterator[str]:
    """Yield a line for each source. Whatever fails is a line too, the last one: the message must go out."""
    try:
        from backup_playbook.connections.repositories import Repositories

        asked = Repositories(load_config())
        for name in sources:
            yield f"*{name}*: {last_verified(name, asked).sentence()}"
    except Exception as error:  # noqa: BLE001
        yield f"How old the newest verified backups are cannot be told: {getattr(error, 'what', error)}"
