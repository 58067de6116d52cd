"""Digest of all large objects of a database."""

from __future__ import annotations

import hashlib

from psycopg import Connection
from psycopg.rows import TupleRow

PIECE_BYTES = 64 << 10
OBJECTS_PER_QUERY = 64


def large_object_digest(connection: Connection[TupleRow]) -> str:
    """Compute the SHA-256 of a line `oid length sha256` for every large object, in the order of oids."""
    digest = hashlib.sha256()
    cursor = connection.cursor(binary=True)
    last = 0
    while batch := cursor.execute(
        "SELECT oid::bigint, pg_catalog.lo_get(oid, 0, %s::int) FROM pg_catalog.pg_largeobject_metadata "
        "WHERE oid > %s::bigint::oid ORDER BY oid LIMIT %s",
        (PIECE_BYTES, last, OBJECTS_PER_QUERY),
    ).fetchall():
        for last, piece in batch:
            content, length = hashlib.sha256(piece), len(piece)
            while len(piece) == PIECE_BYTES:
                ((piece,),) = cursor.execute(
                    "SELECT pg_catalog.lo_get(%s::bigint::oid, %s::bigint, %s::int)", (last, length, PIECE_BYTES)
                ).fetchall()
                content.update(piece)
                length += len(piece)
            digest.update(f"{last} {length} {content.hexdigest()}\n".encode())
    return digest.hexdigest()
