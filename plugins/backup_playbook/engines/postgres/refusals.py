"""Refusals of the server, or of pg_restore: their meaning for a restore, and their remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import errors

from backup_playbook.core.errors import ProcessFailedError, RestoreError
from backup_playbook.core.server_words import message, place, shown
from backup_playbook.engines.postgres.leave_out import CHECK, could_be_left_out
from backup_playbook.engines.postgres.subscriptions import NO_ANSWER
from backup_playbook.engines.postgres.table_of_contents import Entry

_ENTRY = re.compile(r"from TOC entry (\d+); ")
# workers of pg_restore -j do not name the entry; without quotes, and with single spaces:
_COMMANDS = tuple(
    re.compile(rf"Command was: {words}")
    for words in (
        r"ALTER TABLE (?:ONLY )?(?P<schema>.+?)\.(?P<table>.+) ADD CONSTRAINT (?P<name>.+?) [A-Z]{5,} ",
        r"CREATE (?:UNIQUE )?INDEX (?P<name>.+?) ON (?:ONLY )?(?P<schema>.+?)\.",
        r"REFRESH MATERIALIZED VIEW (?P<schema>.+?)\.(?P<name>.+?);",
        r"CREATE (?:EVENT TRIGGER|PUBLICATION) (?P<name>.+?) (?:ON|FOR|WITH)\b",
    )
)


@contextmanager
def explained(what: str, entries: Sequence[Entry] = (), codec: str = "utf-8") -> Iterator[None]:
    """Raise RestoreError for a failed statement or program. entries: those that pg_restore works on."""
    try:
        yield
    except psycopg.Error as error:
        # rows that no partition takes violate a check without a name
        of_check = isinstance(error, errors.CheckViolation) and error.diag.constraint_name
        remedy = _of_check(error) if of_check else _remedy(str(error))
        # without its traceback, which has values of rows in it
        raise RestoreError(f"{what}: {_without_rows(error)}", remedy) from None
    except ProcessFailedError as error:
        name = _failed(error.stderr, entries, codec)
        go_on = f" {_go_on(name)}" if name else ""
        raise RestoreError(f"{what}: {error.what}", f"{_remedy(error.stderr)}{go_on}") from error


def _failed(stderr: str, entries: Sequence[Entry], codec: str) -> str | None:
    """Name the definition that pg_restore failed on, if it can be left out."""
    if match := _ENTRY.search(stderr):
        return next((could_be_left_out(one, codec) for one in entries if one.number == int(match[1])), None)
    said = " ".join(stderr.replace('"', "").split())
    for command in _COMMANDS:
        if match := command.search(said):
            parts = match.groupdict()
            words = " ".join(part for part in (parts.get("schema", "-"), parts.get("table"), parts["name"]) if part)
            names = (name for one in entries if (name := could_be_left_out(one, codec)))
            return next((name for name in names if name.endswith(f" {words}")), None)
    return None


def _without_rows(error: psycopg.Error) -> str:
    """Words of an error, without the values of a row, which are nothing for logs and messages."""
    if not isinstance(error, errors.IntegrityError | errors.DataError):
        return "\n".join(shown(str(error).strip().splitlines()))
    where = place(error.diag.context or "")
    return f"{message(error.diag.message_primary or '', error.sqlstate)}{f' ({where})' if where else ''}"


def _of_check(error: psycopg.Error) -> str:
    found = error.diag
    name = f"{CHECK}{found.schema_name} {found.table_name or found.datatype_name} {found.constraint_name}"
    return (
        "The rows were stored while the constraint held: what it asks has changed since (a function, a setting, the "
        "date), or it reads other tables than its own, which no restore fills in the order that it needs. Correct it "
        f"at the source, and back it up again. {_go_on(name)}"
    )


def _go_on(name: str) -> str:
    return f"To go on without it, start again with this line in `leave_out`: {name}"


def _remedy(message: str) -> str:
    if "No space left on device" in message or "could not extend file" in message:
        return "Free or add disk space on the target server, drop this scratch, and start the restore again."
    if any(
        words in message
        for words in ("server closed the connection", "connection to server", "terminating connection", "connection is")
    ):
        return "Look at the target server's log for this time; then start the restore again with a new scratch."
    if "invalid locale" in message or "is not supported" in message or "locale" in message:
        return "Install the locale on the target server's machine and restart it, or name another in targets.yaml."
    if re.search(r"(relation|function|type) .* does not exist", message):
        return (
            "If a function says so (its name stands in the CONTEXT), it finds its tables by search_path, which no "
            "restore sets: ALTER FUNCTION ... SET search_path at the source, and back it up again. Of this backup, "
            "restore_database with all schemas named in `only` leaves materialised views empty that use it."
        )
    if "statement timeout" in message:
        return NO_ANSWER
    if "permission denied" in message:
        return "Give the role of the target's connection what is missing, or let a superuser restore."
    return "Correct what the server says, drop this scratch, and start the restore again."
