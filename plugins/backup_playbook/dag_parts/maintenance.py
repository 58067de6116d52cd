"""The maintenance mode of an application, as its configuration describes it: switched, and looked at."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Timer
from urllib.parse import urlsplit

from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk.exceptions import AirflowException
from requests import RequestException

import backup_playbook
from backup_playbook.config import CommandMaintenance, HttpCall, HttpMaintenance, Maintenance
from backup_playbook.core.errors import CancelledError, PlaybookError, ProcessFailedError
from backup_playbook.streams.processes import Cancellation, output

SECONDS = 30
_PROJECT = Path(backup_playbook.__file__).parents[2]


class MaintenanceError(PlaybookError):
    """The maintenance mode did not change, or it is not known whether it did."""


def switch(maintenance: Maintenance, *, on: bool, cancellation: Cancellation) -> None:
    """Switch it, and make sure that it has taken effect. Can be repeated. Raises MaintenanceError."""
    match maintenance:
        case HttpMaintenance():
            _call(maintenance.connection, maintenance.switch_on if on else maintenance.switch_off, on=on)
            _call(maintenance.connection, maintenance.is_on if on else maintenance.is_off, on=on)
        case CommandMaintenance():
            _run(maintenance, cancellation, on=on)


def _call(connection: str, call: HttpCall, *, on: bool) -> None:
    what = f"{call.method} {urlsplit(call.path).path}"
    try:
        hook = HttpHook(call.method, connection)
        answer = hook.run(call.path, extra_options={"check_response": False, "timeout": SECONDS})
    except (AirflowException, RequestException) as error:
        raise _error(f"{what} gave no answer: {error}", on=on) from error
    if answer.status_code != call.status:
        raise _error(f"{what} answered {answer.status_code} instead of {call.status}: {answer.text[:500]}", on=on)
    if call.contains not in answer.text:
        raise _error(f"{what} answered without {call.contains!r}: {answer.text[:500]}", on=on)


def _run(maintenance: CommandMaintenance, cancellation: Cancellation, *, on: bool) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    command = maintenance.switch_on if on else maintenance.switch_off
    clock = Timer(maintenance.timeout.total_seconds(), cancellation.cancel)
    clock.start()
    try:
        for _ in output(command, env={**theirs, "PATH": path}, cancellation=cancellation, cwd=_PROJECT):
            pass
    except ProcessFailedError as error:
        raise _error(error.what, on=on) from error
    except CancelledError as error:
        seconds = maintenance.timeout.total_seconds()
        raise _error(f"{command[0]} had not ended after {seconds:g} s.", on=on) from error
    finally:
        clock.cancel()


def _error(what: str, *, on: bool) -> MaintenanceError:
    word = "on" if on else "off"
    return MaintenanceError(
        f"The maintenance mode could not be switched {word}: {what}",
        f"Switch it {word} by hand, correct `recovery.maintenance` in sources.yaml, and clear this task.",
    )
