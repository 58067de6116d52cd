"""Archives of pg_dump: entries that a restored copy gets, the steps of their restore, and their comparison."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from backup_playbook.core.model import Manifest, TableRecord
from backup_playbook.engines.postgres.excluded import PG_CRON, PG_CRON_SCHEMA, has_cron
from backup_playbook.engines.postgres.table_of_contents import Entry, label

SCHEMA_SECTIONS = ("-Fc", "-Z0", "--section=pre-data", "--section=post-data")
"""Options of pg_dump for the archive of a backup's definitions."""

ATTACH = "INDEX ATTACH"
AFTER_ATTACH = "FK CONSTRAINT|COMMENT|MATERIALIZED VIEW DATA|ACL|DEFAULT ACL|PUBLICATION"
LAST = "EVENT TRIGGER|(COMMENT|SECURITY LABEL) - EVENT TRIGGER"
"""Regular expressions of types of entries, as `pg_restore -l` shows them: see `post_data_steps`. LAST: at the end."""

REFRESH = b"MATERIALIZED VIEW DATA"
_ABOUT = (b"COMMENT", b"SECURITY LABEL", b"ACL")
"""Their tag is the kind and the name of what they are about."""
_GRANTS = (b"ACL", b"DEFAULT ACL")
_WITHOUT_OWNERS = ("--no-owner", "--no-privileges", "--no-tablespaces")
_INITIAL = b"-- *not* creating schema"


def restore_options(*, owners: bool) -> tuple[str, ...]:
    """Options of pg_restore. owners: keep owners, grants and tablespaces."""
    return ("--no-subscriptions", *(() if owners else _WITHOUT_OWNERS))


def restorable(entries: Sequence[Entry], *, owners: bool) -> list[Entry]:
    """Select the entries that a restored copy gets.

    It must not act: it gets no subscriptions, no passwords of foreign servers, and no jobs of pg_cron, which exists in
    one database of a server only.
    """
    of_cron = _of_cron(entries)
    return [one for one in entries if one.number not in of_cron and not _is_left_out(one, owners=owners)]


def is_about(entry: Entry, *kinds: bytes) -> bool:
    """Whether it is one of these kinds, or a comment, a label or a grant of one."""
    return entry.kind in kinds or (entry.kind in _ABOUT and entry.tag.startswith(tuple(kind + b" " for kind in kinds)))


def is_large_object(entry: Entry) -> bool:
    """Whether it is of large objects, which differ in their section between versions."""
    return entry.kind.startswith(b"BLOB") or is_about(entry, b"LARGE OBJECT", b"LARGE OBJECTS")


def _is_left_out(entry: Entry, *, owners: bool) -> bool:
    if is_about(entry, b"SUBSCRIPTION", b"DATABASE", b"DATABASE PROPERTIES") or entry.kind == b"USER MAPPING":
        return True
    if entry.kind in (b"ENCODING", b"STDSTRINGS", b"SEARCHPATH"):  # of pg_restore's own session
        return True
    # comments of extensions belong to their owners: no other role can write them
    return not owners and (entry.kind in _GRANTS or (entry.kind != b"EXTENSION" and is_about(entry, b"EXTENSION")))


def _of_cron(entries: Sequence[Entry]) -> set[int]:
    """Numbers of pg_cron, of what is in its schema, and of what depends on either: entries follow what they need."""
    found = {one.number for one in entries if (one.kind, one.tag) == (b"EXTENSION", PG_CRON.encode())}
    if found:
        schema = PG_CRON_SCHEMA.encode()
        for one in entries:
            inside = one.namespace == schema or one.tag == b"SCHEMA " + schema
            if inside or not found.isdisjoint(one.needs):
                found.add(one.number)
    return found


def post_data_steps(entries: Sequence[Entry]) -> list[tuple[list[Entry], bool]]:
    """List the steps, and whether a step may use several connections. restore.sh has the same steps.

    pg_restore runs into deadlocks when it attaches the index of a partition while another connection changes the table,
    or reads it for a materialised view. Event triggers are for the end: they would fire for what is restored beside
    them, and write into the copy.
    """
    entries = [one for one in entries if not is_event_trigger(one)]
    attached = [one for one in entries if one.kind == ATTACH.encode()]
    if not attached:
        return [(entries, True)]
    later = [one for one in entries if one.kind.startswith(tuple(AFTER_ATTACH.encode().split(b"|")))]
    apart = {one.number for one in (*attached, *later)}
    return [([one for one in entries if one.number not in apart], True), (attached, False), (later, True)]


def is_event_trigger(entry: Entry) -> bool:
    """Whether it is an event trigger, or a comment or label of one."""
    return is_about(entry, b"EVENT TRIGGER")


def differences(archived: Iterable[Entry], found: Iterable[Entry], *, owners: bool) -> tuple[int, list[str]]:
    """Count the definitions that are equal, and write a sentence for each that only one has, or that differs.

    archived, found: from `restorable`. Large objects are proven by their digest. owners: compare them too.
    """
    expected, present = ([_compared(one, owners) for one in entries if _is_compared(one, owners)]
                         for entries in (archived, found))  # fmt: skip
    missing, extra = Counter(expected), Counter(present)
    equal = (missing & extra).total()
    missing, extra = missing - extra, extra - missing
    others = defaultdict(list)
    for one in extra.elements():
        others[one[0]].append(one)
    problems = []
    for name, *what in missing.elements():
        if others[name]:
            problems.append(f"{label(name)} {_how(what, others[name].pop()[1:])}.")
        else:
            problems.append(f"{label(name)} of the backup is missing.")
    return equal, problems + [f"{label(name)} is not in the backup." for name, rest in others.items() for _ in rest]


_Compared = tuple[tuple[bytes, bytes, bytes], bytes, bytes, bytes, bytes]


def _is_compared(entry: Entry, owners: bool) -> bool:
    # of the schema that every new database has, pg_dump tells the owner alone, and only where it is another than usual
    return not is_large_object(entry) and (owners or not entry.definition.startswith(_INITIAL))


def _compared(entry: Entry, owners: bool) -> _Compared:
    definition = b"" if entry.kind == REFRESH else entry.definition
    owner, tablespace = (entry.owner, entry.tablespace) if owners else (b"", b"")
    return entry.name, definition, entry.access_method, owner, tablespace


def _how(expected: Sequence[bytes], found: Sequence[bytes]) -> str:
    if expected[0] != found[0]:
        return "is defined in other words than in the backup"
    facts = zip(("the access method", "the owner", "the tablespace"), expected[1:], found[1:], strict=True)
    return " and ".join(
        f"has {what} {has.decode(errors='replace') or '(default)'} where the backup has "
        f"{had.decode(errors='replace') or '(default)'}"
        for what, had, has in facts
        if had != has
    )


def is_left_out(table: TableRecord, manifest: Manifest) -> bool:
    """Whether no copy gets the table, as it is pg_cron's."""
    return has_cron(manifest) and table.kind == "extension" and table.namespace == PG_CRON_SCHEMA


def is_left_out_sequence(name: str, manifest: Manifest) -> bool:
    """Whether no copy gets the sequence; name: the SQL literal in its setval() statement."""
    return has_cron(manifest) and name.startswith(f'\'"{PG_CRON_SCHEMA}".')
