"""Archives of pg_dump: what is in them, and what of it a restored copy gets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from backup_playbook.core.model import Manifest, TableRecord
from backup_playbook.engines.postgres.clients import Clients
from backup_playbook.streams import processes
from backup_playbook.streams.processes import Word

SCHEMA_SECTIONS = ("-Fc", "-Z0", "--section=pre-data", "--section=post-data")
"""What makes the archive of a backup's definitions."""

PG_CRON = "pg_cron"
PG_CRON_SCHEMA = "cron"

# A restored copy must not act, and any role may restore: without the passwords of foreign servers and without the jobs
# of pg_cron (which exists in one database of a server only); comments on extensions belong to whoever owns those.
_LEFT_OUT = re.compile(
    rb"\d+; \d+ \d+ "
    rb"(USER MAPPING |SUBSCRIPTION |(COMMENT|SECURITY LABEL) - (EXTENSION|SUBSCRIPTION) |EXTENSION - pg_cron )"
)
_NUMBERS = re.compile(rb"^\d+; \d+ \d+ ")
_WITHOUT_OWNERS = ("--no-owner", "--no-privileges", "--no-tablespaces")


def restore_options(*, owners: bool) -> tuple[str, ...]:
    """For pg_restore. owners: keep owners, grants and tablespaces."""
    return ("--no-subscriptions", *(() if owners else _WITHOUT_OWNERS))


def restorable(clients: Clients, archive: Path, *, owners: bool) -> list[bytes]:
    """The lines of the table of contents, for `pg_restore -L`, of what a restored copy gets."""
    argv: list[Word] = [str(clients.pg_restore), "-l", *restore_options(owners=owners), archive]
    lines = processes.run(argv).split(b"\n")
    return [line for line in lines if _NUMBERS.match(line) and not _LEFT_OUT.match(line)]


def differences(archived: Iterable[bytes], found: Iterable[bytes], roles: Sequence[bytes]) -> tuple[int, list[str]]:
    """How many definitions both have, and a sentence for each that only one has.

    archived, found: from `restorable`. Owners are not compared: at the end of a line, and without quotes, they are
    taken off the lines of the restored copy by the `roles` of its server, and off the others by what remains.
    """
    left = Counter(_without_owner(_NUMBERS.sub(b"", line), roles) for line in found)
    equal, problems = 0, []
    for line in archived:
        entry = _NUMBERS.sub(b"", line)
        if (match := next((item for item in _shortened(entry) if left[item] > 0), None)) is not None:
            left[match] -= 1
            equal += 1
        else:
            problems.append(f"{next(_shortened(entry)).decode(errors='replace')} of the backup is missing.")
    problems += [f"{entry.decode(errors='replace')} is not in the backup." for entry in left.elements()]
    return equal, problems


def left_out(manifest: Manifest) -> tuple[str, ...]:
    """What no restored copy of this backup gets, in words."""
    always = ("subscriptions", "user mappings of foreign servers")
    has_cron = any(item["name"] == PG_CRON for item in manifest.details["extensions"])
    return (*always, "pg_cron and its jobs") if has_cron else always


def is_left_out(table: TableRecord) -> bool:
    return table.kind == "extension" and table.namespace == PG_CRON_SCHEMA


def is_left_out_sequence(name: str) -> bool:
    """name: the SQL literal in its setval() statement."""
    return name.startswith(f'\'"{PG_CRON_SCHEMA}".')


def _without_owner(entry: bytes, roles: Sequence[bytes]) -> bytes:
    owners = [role for role in roles if entry.endswith(b" " + role)]
    return entry[: -len(max(owners, key=len)) - 1] if owners else entry.removesuffix(b" ")


def _shortened(entry: bytes) -> Iterator[bytes]:
    """Without its last word, its last two ...: names of roles may have spaces."""
    while (end := entry.rfind(b" ")) > 0:
        entry = entry[:end]
        yield entry
