"""Settings of the sessions that read and load rows: every value has one spelling, whatever server and role have set.

Without them a restored copy would not read the same bytes as its source: a `timestamptz` prints in the session's time
zone, `bytea` and `money` as the server was told to.
"""

from __future__ import annotations

from collections.abc import Mapping

SETTINGS: Mapping[str, str] = {
    "search_path": "pg_catalog",  # regclass and its like print with their schema
    "row_security": "off",  # an error instead of rows left out
    "synchronize_seqscans": "off",  # rows in the order of their pages
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "array_nulls": "on",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
"""Names and values need no quotes inside of quotes; every supported version knows them all."""


def known_to(server_version: int) -> dict[str, str]:
    """SETTINGS, and those that only newer servers know."""
    return {**SETTINGS, **({"transaction_timeout": "0"} if server_version >= 170_000 else {})}


def reading(server_version: int, lock_timeout_seconds: float) -> dict[str, str]:
    """Settings of a session that copies out.

    The lock timeout matters during the whole run: a migration that queues for a table behind the snapshot's holder also
    blocks the streams that come after it, and Postgres can not see that the two wait for each other. Rows are counted
    in the table that they are copied from, not in an index, which may lack some.
    """
    heap = {"enable_seqscan": "on", "enable_indexonlyscan": "off"}
    return {**known_to(server_version), **heap, "lock_timeout": str(int(lock_timeout_seconds * 1000))}


def set_statements(settings: Mapping[str, str], *, local: bool = False) -> str:
    """Write SET statements, `local` to the transaction that is open."""
    return " ".join(f"SET {'LOCAL ' if local else ''}{name} = '{value}';" for name, value in settings.items())


def libpq_options(settings: Mapping[str, str]) -> str:
    """Write settings as a value of PGOPTIONS."""
    return " ".join(f"-c {name}={value}" for name, value in settings.items())
