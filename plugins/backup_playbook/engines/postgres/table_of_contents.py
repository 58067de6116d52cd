"""Table of contents of an archive of pg_dump (-Fc): every definition apart, with its exact names.

`pg_restore -l` shows the same for people: names with spaces, owners and line breaks run into each other there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from backup_playbook.core.errors import VerificationError

_LINE_BREAK = re.compile(r"[\n\r]")
_MAGIC = b"PGDMP"
_WITH_ALGORITHM, _WITH_RELKIND = (1, 15), (1, 16)
"""Versions of the format: 1.14 of pg_dump 12 to 15, 1.15 of 16, 1.16 from 17 on."""
_KNOWN = ((1, 14), _WITH_ALGORITHM, _WITH_RELKIND)
_CREATED = 7
"""Numbers of the date and time."""
_NO_SECTION = 1
_SECTIONS = {2: "pre-data", 3: "data", 4: "post-data"}


@dataclass(frozen=True)
class Entry:
    """Definition in an archive. Texts are in the encoding of the archive; empty where there is none.

    needs: numbers of entries that it depends on, and of objects that have none. section: as for pg_restore.
    """

    number: int
    kind: bytes
    namespace: bytes
    tag: bytes
    definition: bytes
    section: str
    owner: bytes
    tablespace: bytes
    access_method: bytes
    needs: tuple[int, ...]

    @property
    def name(self) -> tuple[bytes, bytes, bytes]:
        """Kind, schema and tag."""
        return self.kind, self.namespace, self.tag

    def label(self, codec: str = "utf-8") -> str:
        """Name for people, see `label`."""
        return label(self.name, codec)


def label(name: tuple[bytes, bytes, bytes], codec: str = "utf-8") -> str:
    """Write the name of an entry as `pg_restore -l` does, but without the owner."""
    kind, namespace, tag = name
    return _LINE_BREAK.sub(" ", b" ".join((kind, namespace or b"-", tag)).decode(codec, "replace"))


def read_entries(archive: bytes) -> list[Entry]:
    """Read the entries in the order of their restore. Raises VerificationError for an archive of an unknown kind."""
    try:
        return _Reader(archive).entries()
    except (IndexError, KeyError) as error:
        raise VerificationError(
            "An archive of definitions ends in the middle of its table of contents.",
            "Use another backup, or the off-site copy.",
        ) from error


class _Reader:
    def __init__(self, archive: bytes) -> None:
        self._archive, self._at = archive, len(_MAGIC)
        self._version = (self._byte(), self._byte())
        if not archive.startswith(_MAGIC) or self._version not in _KNOWN:
            raise VerificationError(
                f"An archive of definitions is none that this release can read: version {self._version} of its format.",
                "If a newer pg_dump wrote it, upgrade this project; else use another backup, or the off-site copy.",
            )
        self._section = ""
        self._byte()  # the revision, which changes nothing
        self._int_bytes, self._offset_bytes = self._byte(), self._byte()

    def entries(self) -> list[Entry]:
        self._byte()  # the kind of archive
        if self._version >= _WITH_ALGORITHM:
            self._byte()
        else:
            self._int()
        for _ in range(_CREATED):
            self._int()
        for _ in ("database", "server's version", "pg_dump's version"):
            self._text()
        return [self._entry() for _ in range(self._int())]

    def _entry(self) -> Entry:
        number = self._int()
        self._int()  # whether it has data
        self._text(), self._text()  # oids of its catalog and of itself
        tag, kind, section, definition = self._text(), self._text(), self._int(), self._text()
        if section != _NO_SECTION:  # comments and grants come in that of the entry before them
            self._section = _SECTIONS[section]
        self._text(), self._text()  # how to drop it, and to copy its rows
        namespace, tablespace, access_method = self._text(), self._text(), self._text()
        if self._version >= _WITH_RELKIND:
            self._int()
        owner = self._text()
        self._text()  # with oids
        needs = []
        while need := self._text():
            needs.append(int(need))
        self._at += 1 + self._offset_bytes  # where its rows are
        return Entry(
            number, kind, namespace, tag, definition, self._section, owner, tablespace, access_method, tuple(needs)
        )  # fmt: skip

    def _byte(self) -> int:
        value = self._archive[self._at]
        self._at += 1
        return value

    def _int(self) -> int:
        negative, start = self._byte(), self._at
        self._at += self._int_bytes
        value = int.from_bytes(self._archive[start : self._at], "little")
        return -value if negative else value

    def _text(self) -> bytes:
        length, start = self._int(), self._at
        self._at += max(length, 0)
        if self._at > len(self._archive):
            raise IndexError
        return self._archive[start : self._at]
