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

ATTACH = "INDEX ATTACH"
AFTER_ATTACH = "FK CONSTRAINT|COMMENT|MATERIALIZED VIEW DATA|EVENT TRIGGER|ACL|DEFAULT ACL|PUBLICATION"
"""Regular expressions of types of entries: see `post_data_steps`."""

PG_CRON = "pg_cron"
PG_CRON_SCHEMA = "cron"

# A restored copy must not act: it gets no passwords of foreign servers, and no jobs of pg_cron, which exists in one
# database of a server only.
_LEFT_OUT = re.compile(
    rb"\d+; \d+ \d+ (USER MAPPING |SUBSCRIPTION |(COMMENT|SECURITY LABEL) - SUBSCRIPTION |EXTENSION - pg_cron )"
)
# Nor can any role write these.
_OF_OWNERS = re.compile(rb"\d+; \d+ \d+ (COMMENT|SECURITY LABEL) - EXTENSION ")
# Which section has them differs between versions.
LARGE_OBJECTS = re.compile(rb"\d+; \d+ \d+ (BLOB|(COMMENT|SECURITY LABEL|ACL) - LARGE OBJECT)")
_ATTACH, _AFTER_ATTACH = (re.compile(rf"\d+; \d+ \d+ ({types}) ".encode()) for types in (ATTACH, AFTER_ATTACH))
_NUMBERS = re.compile(rb"^\d+; \d+ \d+ ")
_WITHOUT_OWNERS = ("--no-owner", "--no-privileges", "--no-tablespaces")


def restore_options(*, owners: bool) -> tuple[str, ...]:
    """For pg_restore. owners: keep owners, grants and tablespaces."""
    return ("--no-subscriptions", *(() if owners else _WITHOUT_OWNERS))


def restorable(clients: Clients, archive: Path, *sections: str, owners: bool) -> list[bytes]:
    """What a restored copy gets, as lines of the table of contents for `pg_restore -L`; sections: only of these."""
    words = [*(f"--section={section}" for section in sections), *restore_options(owners=owners)]
    argv: list[Word] = [str(clients.pg_restore), "-l", *words, archive]
    lines = processes.run(argv).split(b"\n")
    wanted = [line for line in lines if _NUMBERS.match(line) and not _LEFT_OUT.match(line)]
    return wanted if owners else [line for line in wanted if not _OF_OWNERS.match(line)]


def post_data_steps(lines: Sequence[bytes]) -> list[tuple[list[bytes], bool]]:
    """Lines of `restorable`, step after step, and whether a step may use several connections.

    pg_restore runs into deadlocks when it attaches the index of a partition while another connection changes the table,
    or reads it for a materialised view. restore.sh has the same steps.
    """
    attached = [line for line in lines if _ATTACH.match(line)]
    if not attached:
        return [(list(lines), True)]
    later = [line for line in lines if _AFTER_ATTACH.match(line)]
    apart = {*attached, *later}
    return [([line for line in lines if line not in apart], True), (attached, False), (later, True)]


def differences(archived: Iterable[bytes], found: Iterable[bytes], roles: Sequence[bytes]) -> tuple[int, list[str]]:
    """How many definitions both have, and a sentence for each that only one has.

    archived, found: from `restorable`. Owners are not compared: at the end of a line, and without quotes, they are
    taken off the lines of the restored copy by the `roles` of its server, and off the others by what remains.
    """
    plain = [role.replace(b'"', b"") for role in roles]
    left = Counter(_without_owner(entry, plain) for entry in _entries(found))
    equal, problems = 0, []
    for entry in _entries(archived):
        if (match := next((item for item in shortened(entry) if left[item] > 0), None)) is not None:
            left[match] -= 1
            equal += 1
        else:
            problems.append(f"{next(shortened(entry)).decode(errors='replace')} of the backup is missing.")
    problems += [f"{entry.decode(errors='replace')} is not in the backup." for entry in left.elements()]
    return equal, problems


def left_out(manifest: Manifest) -> tuple[str, ...]:
    """What no restored copy of this backup gets, in words."""
    found = ["subscriptions", "user mappings of foreign servers"]
    if any(item["name"] == PG_CRON for item in manifest.details["extensions"]):
        found.append("pg_cron and its jobs")
    if unlogged := manifest.details.get("unlogged"):
        names = ", ".join(".".join(name) for name in unlogged)
        found.append(f"the contents of {names} (unlogged: the standby that was read has none)")
    return tuple(found)


def is_left_out(table: TableRecord) -> bool:
    return table.kind == "extension" and table.namespace == PG_CRON_SCHEMA


def is_left_out_sequence(name: str) -> bool:
    """name: the SQL literal in its setval() statement."""
    return name.startswith(f'\'"{PG_CRON_SCHEMA}".')


def _entries(lines: Iterable[bytes]) -> Iterator[bytes]:
    for line in lines:
        if not LARGE_OBJECTS.match(line):  # they are proven by their digest
            # a server or database may be set to quote all identifiers
            yield _NUMBERS.sub(b"", line).replace(b'"', b"")


def _without_owner(entry: bytes, roles: Sequence[bytes]) -> bytes:
    owners = [role for role in roles if entry.endswith(b" " + role)]
    return entry[: -len(max(owners, key=len)) - 1] if owners else entry.removesuffix(b" ")


def shortened(entry: bytes) -> Iterator[bytes]:
    """Without its last word, its last two ...: names of roles may have spaces."""
    while (end := entry.rfind(b" ")) > 0:
        entry = entry[:end]
        yield entry
