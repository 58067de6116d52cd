"""A production database for the tests of what engines do to it: made, damaged, looked at, and interrupted."""

import contextlib
from typing import Protocol

from backup_playbook.engines.contract import CopyServer, Engine, Source
from backup_playbook.engines.live_database import LiveDatabase
from backup_playbook.engines.record_recovery import RecordRecovery, WantedRecords

ORDERS = 20


class Scene(Protocol):
    """A live database with ORDERS paid orders, made anew by `begin`; order 3 has the mail `m3`, which is unique.

    live: of a source of the same name. staging: a server for copies; the same one.
    """

    engine: Engine
    name: str
    live: LiveDatabase
    staging: CopyServer

    def of(self, source: str) -> LiveDatabase:
        """The same database, of another source."""
        ...

    def records(self, wanted: WantedRecords) -> RecordRecovery: ...

    def source(self) -> Source:
        """To take a backup of it from, as `begin` makes it."""
        ...

    def begin(self) -> None: ...

    def go_on(self) -> None:
        """Write to it, and change what belongs to its name."""
        ...

    def damage(self) -> None:
        """Lose two orders, change others, and make things that the backup does not have."""
        ...

    def counted(self, orders: int) -> dict[str, int]:
        """What `count` is to say: of an undamaged database that has so many orders."""
        ...

    def orders(self) -> dict[int, tuple[str, str]]:
        """State and mail, by number."""
        ...

    def delete(self, *orders: int) -> None: ...

    def change(self, order: int) -> None:
        """Its state is `changed` then."""
        ...

    def insert(self, order: int, mail: str) -> None: ...

    def below(self, order: int) -> str:
        """A form's condition: all orders of smaller numbers."""
        ...

    def undo(self, content: bytes) -> None:
        """As a person does."""
        ...

    def contents(self) -> object:
        """All that applications find under the live name, comparable; None when they are refused."""
        ...

    def rows(self, database: str = "") -> object:
        """Of the live database, or of another one."""
        ...

    def rows_aside(self, quarantine: str) -> object:
        """Of a quarantine, whatever it takes to look into it."""
        ...

    def is_closed(self, quarantine: str) -> bool:
        """Whether it stays as it is: nobody writes to it, and nothing expires."""
        ...

    def leftovers(self) -> set[str]:
        """All that there is beside the live database, and was not there at first."""
        ...

    def replace(self) -> None:
        """Somebody drops it, and makes another one of the same name."""
        ...

    def without_rights(self) -> LiveDatabase:
        """The same, as the user `weak`, who may read it."""
        ...

    def dying_half_way(self) -> contextlib.AbstractContextManager[None]:
        """The worker dies while it exchanges two."""
        ...

    def end(self) -> None:
        """Remove what `begin` and a test have made."""
        ...

    def close(self) -> None: ...
