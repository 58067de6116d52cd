"""Definitions that a person leaves out of a copy, as its rows, or the rights of the role, do not allow them.

They are named as `pg_restore -l` names them, without the owner: `FK CONSTRAINT public orders orders_user_id_fkey`.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import TupleRow

from backup_playbook.core.errors import RestoreError
from backup_playbook.engines.postgres.archive import ATTACH, REFRESH
from backup_playbook.engines.postgres.table_of_contents import Entry

log = logging.getLogger(__name__)

_KINDS = (
    b"CHECK CONSTRAINT", b"CONSTRAINT", b"FK CONSTRAINT", b"INDEX", REFRESH, b"EVENT TRIGGER", b"PUBLICATION",
    b"PUBLICATION TABLE", b"PUBLICATION TABLES IN SCHEMA",
)  # fmt: skip
_COMMENT = re.compile(rb"CONSTRAINT (.*) ON .*", re.DOTALL)
# one of a table's definition is no entry of its own, and is named as one that is not valid would be
CHECK = "CHECK CONSTRAINT "
# of what is inherited, the beginning; line breaks in names are spaces
_CHECKS = r"""
WITH RECURSIVE named AS (
  SELECT c.oid, c.conrelid, c.contypid, c.conname, c.coninhcount FROM pg_catalog.pg_constraint c
  LEFT JOIN pg_catalog.pg_class r ON r.oid = c.conrelid LEFT JOIN pg_catalog.pg_type t ON t.oid = c.contypid
  JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(r.relnamespace, t.typnamespace)
  WHERE c.contype = 'c' AND pg_catalog.translate(pg_catalog.concat_ws(' ', n.nspname, coalesce(r.relname, t.typname),
    c.conname), E'\n\r', '  ') = %s
  UNION SELECT c.oid, c.conrelid, c.contypid, c.conname, c.coninhcount FROM named
  JOIN pg_catalog.pg_inherits i ON i.inhrelid = named.conrelid
  JOIN pg_catalog.pg_constraint c ON c.conrelid = i.inhparent AND c.conname = named.conname AND c.contype = 'c'
) SELECT pg_catalog.format(CASE contypid WHEN 0 THEN 'ALTER TABLE %%s' ELSE 'ALTER DOMAIN %%2$s' END,
    conrelid::regclass, contypid::regtype), pg_catalog.quote_ident(conname), pg_catalog.pg_get_constraintdef(oid)
  FROM named WHERE coninhcount = 0
"""

_ALL_CHECKS = """
SELECT pg_catalog.format(CASE contypid WHEN 0 THEN 'ALTER TABLE %1$s' ELSE 'ALTER DOMAIN %2$s' END
  || ' DROP CONSTRAINT %3$I', conrelid::regclass, contypid::regtype, conname)
FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
WHERE contype = 'c' AND coninhcount = 0 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid IN (c.conrelid, c.contypid) AND d.deptype = 'e')
"""


@dataclass(frozen=True)
class LeftOut:
    """Definitions that are left out. entries: their numbers. checks: `schema table constraint`. words: for people."""

    entries: frozenset[int] = frozenset()
    checks: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def find_left_out(entries: Sequence[Entry], wanted: Sequence[str], codec: str) -> LeftOut:
    """Find the wanted definitions, and those that need them: they are left out, too.

    Raises RestoreError for what is not in the backup, or cannot be left out.
    """
    known: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if name := could_be_left_out(entry, codec):
            known[name].append(entry)
    found: dict[Entry, None] = {}
    checks = []
    for name in wanted:
        # whoever names two entries at once has not named one
        if len(known.get(name, ())) == 1:
            found |= dict.fromkeys(with_what_needs_it(known[name][0], entries))
        elif name.startswith(CHECK):
            checks.append(name.removeprefix(CHECK))
            found |= dict.fromkeys(_comments_on(checks[-1], entries, codec))
        else:
            near = difflib.get_close_matches(name, known, 3, 0.5)
            raise RestoreError(
                f"The backup has no {name!r} that could be left out.",
                " ".join(["Name it as the error does.", *([f"Is it {' or '.join(near)}?"] if near else [])]),
            )
    words = (f"{name} (as asked)" for name in (*(one.label(codec) for one in found), *(CHECK + one for one in checks)))
    return LeftOut(frozenset(one.number for one in found), tuple(checks), tuple(words))


def could_be_left_out(entry: Entry, codec: str) -> str | None:
    """Name by which an entry can be left out; None when it cannot."""
    return entry.label(codec) if entry.kind in _KINDS else None


def drop_checks(connection: Connection[TupleRow], names: Sequence[str]) -> None:
    """Drop these check constraints, see `LeftOut.checks`. Raises RestoreError when there is no such one."""
    codec = connection.info.encoding
    for name in names:
        dropped = 0
        # what a child has of its own, too, is left when the parent's is gone
        while rows := connection.execute(_CHECKS.encode(), [name]).fetchall():
            for target, constraint, definition in rows:
                log.warning("Left out, as asked: %s ADD CONSTRAINT %s %s;", target, constraint, definition)
                connection.execute(f"{target} DROP CONSTRAINT {constraint}".encode(codec))
                dropped += 1
        if not dropped:
            raise RestoreError(f"The backup has no {CHECK}{name} that could be left out.", "Name it as the error does.")


def drop_all_checks(connection: Connection[TupleRow]) -> None:
    """Drop all check constraints, where rows are only looked at: some may not meet them any more."""
    while rows := connection.execute(_ALL_CHECKS).fetchall():
        for (statement,) in rows:
            connection.execute(statement.encode(connection.info.encoding))


def _comments_on(check: str, entries: Iterable[Entry], codec: str) -> Iterator[Entry]:
    """Find the comments on a constraint, also on that of a parent, or of whatever else bears its name."""
    for entry in entries:
        match = _COMMENT.match(entry.tag.replace(b'"', b"")) if entry.kind == b"COMMENT" else None
        if match and check.endswith(f" {match[1].decode(codec, errors='replace')}"):
            yield entry


def with_what_needs_it(entry: Entry, entries: Sequence[Entry]) -> Iterator[Entry]:
    """Yield an entry, and all that depend on it, or are one with it."""
    seen, waiting = {entry.number}, [entry]
    while waiting:
        one = waiting.pop()
        yield one
        new = [other for other in entries if one.number in other.needs and other.number not in seen]
        # an index of a partitioned table is one with those of all partitions
        if one.kind == ATTACH.encode():
            new += [other for other in entries
                    if other.number in one.needs and other.number not in seen and other.kind in _KINDS]  # fmt: skip
        seen.update(other.number for other in new)
        waiting += new
