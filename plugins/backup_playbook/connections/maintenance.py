"""The maintenance mode of an application, as its configuration describes it: switched, and looked at."""

from __future__ import annotations

from backup_playbook.config import CommandMaintenance, HttpMaintenance, Maintenance
from backup_playbook.connections.application import call_page, call_program
from backup_playbook.core.errors import PlaybookError
from backup_playbook.streams.processes import Cancellation

DETAIL_CHARACTERS = 500


class MaintenanceError(PlaybookError):
    """The maintenance mode did not change, or it is not known whether it did."""


def switch(maintenance: Maintenance, *, on: bool, cancellation: Cancellation) -> None:
    """Switch the maintenance mode, and make sure that it has taken effect. Can be repeated. Raises MaintenanceError."""
    match maintenance:
        case HttpMaintenance():
            calls = [maintenance.switch_on, maintenance.is_on] if on else [maintenance.switch_off, maintenance.is_off]
            for call in calls:
                result = call_page(maintenance.connection, call.method, call.path, call.status, call.contains)
                _require(*result, on=on)
        case CommandMaintenance():
            command = maintenance.switch_on if on else maintenance.switch_off
            _require(*call_program(command, maintenance.timeout, cancellation), on=on)


def _require(ok: bool, detail: str, *, on: bool) -> None:
    word = "on" if on else "off"
    if not ok:
        raise MaintenanceError(
            f"The maintenance mode could not be switched {word}: {detail[-DETAIL_CHARACTERS:]}",
            f"Switch it {word} manually, correct `recovery.maintenance` in sources.yaml, and clear this task.",
        )
