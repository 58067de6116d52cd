"""The application of a source: its programs and its pages, as its engineers would call them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from threading import Timer
from urllib.parse import quote

import backup_playbook
from backup_playbook.config import ApplicationCheck, CommandCheck, HttpCheck, SqlCheck
from backup_playbook.core.errors import CancelledError, ProcessFailedError
from backup_playbook.engines.contract import ScratchTarget
from backup_playbook.streams.processes import Cancellation, output

PROJECT = Path(backup_playbook.__file__).parents[2]
"""The folder of dags/, plugins/ and include/, in which programs start."""
HTTP_SECONDS = 30
PRINTED_BYTES = 64 << 10
"""So much of what a program printed is kept, from its end."""


def run_check(check: ApplicationCheck, copy: ScratchTarget, cancellation: Cancellation) -> tuple[bool, str]:
    """Ask a restored copy one thing. Returns whether the answer is right, and the answer, or what was wrong."""
    match check:
        case SqlCheck():
            found = copy.ask(check.query)
            ok = bool(found == check.expect)
            return ok, f"{found}" if ok else f"found {found!r} instead of {check.expect!r}"
        case CommandCheck():
            return call_program(check.command, check.timeout, cancellation, DATABASE_URL=copy.url)
        case HttpCheck():
            path = check.path.replace("{database}", quote(copy.name, safe=""))
            return call_page(check.connection, "GET", path, check.status, check.contains)


def call_program(
    command: Sequence[str], timeout: timedelta, cancellation: Cancellation, **environment: str
) -> tuple[bool, str]:
    """Run a program. Returns whether it exited with 0 in time, and the end of what it printed, or what was wrong.

    `python` is the one that runs Airflow, as people expect; Airflow's own secrets are not for applications.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    printed = b""
    mine = Cancellation(cancellation)  # its end by the clock is no end of the task
    clock = Timer(timeout.total_seconds(), mine.cancel)
    clock.start()
    try:
        for block in output(command, env={**theirs, "PATH": path, **environment}, cancellation=mine, cwd=PROJECT):
            printed = (printed + block)[-PRINTED_BYTES:]
    except ProcessFailedError as error:
        return False, "\n".join([printed.decode(errors="replace"), error.what])
    except CancelledError:
        return False, f"not done after {timeout.total_seconds():g} s, or ended with its task"
    finally:
        clock.cancel()
    return True, printed.decode(errors="replace").strip()


def call_page(connection: str, method: str, path: str, status: int, contains: str) -> tuple[bool, str]:
    """Ask a page. Returns whether it answered as it should, and what it answered.

    connection: id of an Airflow connection of type HTTP.
    """
    from airflow.providers.http.hooks.http import HttpHook
    from airflow.sdk.exceptions import AirflowException
    from requests import RequestException

    options = {"check_response": False, "timeout": HTTP_SECONDS}
    try:
        answer = HttpHook(method, connection).run(path, extra_options=options)
    except (AirflowException, RequestException) as error:
        return False, f"{path} gave no answer: {error}"
    if answer.status_code != status:
        return False, f"{path} answered {answer.status_code} instead of {status}: {answer.text}"
    if contains not in answer.text:
        return False, f"{path} answered without {contains!r}: {answer.text}"
    return True, f"{path} answered {answer.status_code}"
