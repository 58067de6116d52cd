"""What a person has a copy go without, as its rows, or the rights of the role, do not allow it.

Named as `pg_restore -l` names it, without the owner: `FK CONSTRAINT public orders orders_user_id_fkey`.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import TupleRow

from backup_playbook.core.errors import RestoreError
from backup_playbook.engines.postgres.archive import shortened

log = logging.getLogger(__name__)

_KINDS = re.compile(
    rb"(?:CHECK CONSTRAINT|CONSTRAINT|FK CONSTRAINT|INDEX|MATERIALIZED VIEW DATA|EVENT TRIGGER|PUBLICATION) "
)
_ATTACH = b"INDEX ATTACH "
_COMMENT = re.compile(rb"COMMENT .* CONSTRAINT (.*) ON .*")
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


@dataclass(frozen=True)
class LeftOut:
    """entries: ids in the table of contents. checks: `schema table constraint`. words: for people."""

    entries: frozenset[bytes] = frozenset()
    checks: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def find_left_out(
    texts: Mapping[bytes, bytes], needs: Mapping[bytes, Sequence[bytes]], wanted: Sequence[str], codec: str
) -> LeftOut:
    """texts, needs: of the entries of an archive, by id. What needs what is left out is left out, too.

    Raises RestoreError for what is not in the backup, or cannot be left out.
    """
    known: dict[str, list[bytes]] = defaultdict(list)
    for number, text in texts.items():
        if _KINDS.match(text) and not text.startswith(_ATTACH):
            for part in (text, *shortened(text)):
                known[part.decode(codec, errors="replace")].append(number)
    entries: dict[bytes, None] = {}
    checks = []
    for name in wanted:
        # a name of an owner may have spaces: whoever names two entries at once has not named one
        if len(known.get(name, ())) == 1:
            entries |= dict.fromkeys(_with_what_needs_it(known[name][0], texts, needs))
        elif name.startswith(CHECK):
            checks.append(name.removeprefix(CHECK))
            entries |= dict.fromkeys(_comments_on(checks[-1], texts, codec))
        else:
            near = difflib.get_close_matches(name, known, 3, 0.5)
            raise RestoreError(
                f"The backup has no {name!r} that could be left out.",
                " ".join(["Name it as the error does.", *([f"Is it {' or '.join(near)}?"] if near else [])]),
            )
    found = [next(shortened(texts[number])).decode(codec, errors="replace") for number in entries]
    words = (f"{name} (as asked)" for name in (*found, *(CHECK + name for name in checks)))
    return LeftOut(frozenset(entries), tuple(checks), tuple(words))


def could_be_left_out(line: bytes) -> bytes | None:
    """line: of `archive.restorable`. By which name it can be left out; None when it cannot."""
    text = re.sub(rb"^\d+; \d+ \d+ ", b"", line)
    return next(shortened(text)) if _KINDS.match(text) and not text.startswith(_ATTACH) else None


def drop_checks(connection: Connection[TupleRow], names: Sequence[str]) -> None:
    """Raises RestoreError when there is no such constraint. names: as `LeftOut.checks`."""
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
            raise RestoreError(
                f"The backup has no {CHECK}{name} that could be left out.",
                "Name it as the error does.",
            )


def _comments_on(check: str, texts: Mapping[bytes, bytes], codec: str) -> Iterator[bytes]:
    """Also on the constraint of a parent, or of whatever else bears its name."""
    for number, text in texts.items():
        match = _COMMENT.match(text.replace(b'"', b""))
        if match and check.endswith(f" {match[1].decode(codec, errors='replace')}"):
            yield number


def _with_what_needs_it(
    number: bytes, texts: Mapping[bytes, bytes], needs: Mapping[bytes, Sequence[bytes]]
) -> Iterator[bytes]:
    seen, waiting = {number}, [number]
    while waiting:
        one = waiting.pop()
        yield one
        new = [other for other, needed in needs.items() if one in needed and other in texts and other not in seen]
        # an index of a partitioned table is one with those of all partitions
        if texts[one].startswith(_ATTACH):
            new += [other for other in needs[one] if other not in seen and _KINDS.match(texts.get(other, b""))]
        seen.update(new)
        waiting += new
