"""Fills a database with the shop's data: deterministic, made by the server itself from SQL in `data/`.

Equal seed and scale give equal rows in equal physical order, on every supported server version.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
from psycopg import sql

HERE = Path(__file__).parent

# Rows at scale 1.0, together about 1.3 GB as COPY text; audit_log is more than half of it.
ROWS_AT_SCALE_1 = {
    "users": 200_000,
    "addresses": 240_000,
    "sessions": 100_000,
    "products": 20_000,
    "reviews": 200_000,
    "orders": 600_000,
    "page_views": 1_000_000,
    "audit_log": 2_200_000,
}
MINIMUM_ROWS = 20
HUGE_ROWS_AT_SCALE_1 = 3_700_000

# Each list is loaded by one connection, the lists side by side; within orders.sql an order is made of its items.
DATA_FILES = (("audit_log.sql",), ("orders.sql", "people.sql", "products.sql", "page_views.sql"))

# The load must not crawl on a server with default settings; a crash during it costs nothing but a new load.
SESSION_SETTINGS = """
    SET synchronous_commit = off;
    SET maintenance_work_mem = '256MB';
    SET work_mem = '256MB';
    SET timezone = 'UTC';
    SET client_min_messages = warning;
"""


class SampleError(Exception):
    """The sample data cannot be loaded; the message says why and what to do."""


def load(dsn: str, scale: float = 1.0, seed: int = 1) -> dict[str, int]:
    """Create the shop in the empty database at `dsn` and return the rows of each table.

    Scale 1.0 is about 1.3 GB of COPY text and 2 GB on disk; 0.01 is what tests use. A partitioned table is counted as a
    whole and partition by partition. Raises SampleError if the database already holds tables or the scale is out of
    range. A load that fails half-way leaves a part behind: drop the database and load again.
    """
    sizes = _sizes(scale)
    with _connect(dsn) as connection:
        _refuse_unless_empty(connection)
        connection.execute(_read("schema.sql"))
    with ThreadPoolExecutor(max_workers=len(DATA_FILES)) as pool:
        for loaded in [pool.submit(_run_data_files, dsn, files, sizes, seed) for files in DATA_FILES]:
            loaded.result()
    with _connect(dsn) as connection:
        connection.execute(_read("schema_post.sql"))
        _advance_sequences(connection)
        connection.execute("ANALYZE")
        return _count_rows(connection)


def load_huge(dsn: str, scale: float = 1.0, seed: int = 1) -> dict[str, int]:
    """Create one table `audit_log` in the empty database at `dsn`: 1.3 GB of COPY text at scale 1.0, primary key only.

    For measuring how one huge table is split. Returns its rows; raises SampleError as `load` does.
    """
    sizes = _sizes(scale) | {"audit_log": max(MINIMUM_ROWS, round(HUGE_ROWS_AT_SCALE_1 * scale))}
    with _connect(dsn) as connection:
        _refuse_unless_empty(connection)
        connection.execute(_read("schema_huge.sql"))
    _run_data_files(dsn, ("audit_log.sql",), sizes, seed)
    with _connect(dsn) as connection:
        connection.execute("ALTER TABLE audit_log ADD PRIMARY KEY (id)")
        connection.execute("ANALYZE")
        return _count_rows(connection)


def _sizes(scale: float) -> dict[str, int]:
    if not 0 < scale <= 1000:
        raise SampleError(f"The scale {scale} makes no sense: choose a number above 0 and up to 1000; 1.0 is 1.3 GB.")
    sizes = {table: max(MINIMUM_ROWS, round(rows * scale)) for table, rows in ROWS_AT_SCALE_1.items()}
    # Every user owns the address of the same number.
    sizes["addresses"] = max(sizes["addresses"], sizes["users"])
    return sizes | {"categories": 60, "product_images": min(sizes["products"], max(5, round(200 * scale)))}


def _connect(dsn: str) -> psycopg.Connection:
    # Client-side binding, because CREATE FUNCTION and several statements in one string take no server-side parameters.
    connection = psycopg.connect(dsn, cursor_factory=psycopg.ClientCursor)
    connection.execute(SESSION_SETTINGS)
    return connection


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _run_data_files(dsn: str, files: tuple[str, ...], sizes: dict[str, int], seed: int) -> None:
    with _connect(dsn) as connection:
        for name in ("helpers.sql", *files):
            connection.execute(_read(f"data/{name}"), sizes | {"seed": seed})


def _user_tables(connection: psycopg.Connection) -> list[str]:
    tables = connection.execute("""
        SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname
    """)
    return [name for (name,) in tables]


def _refuse_unless_empty(connection: psycopg.Connection) -> None:
    tables = _user_tables(connection)
    if tables:
        database = connection.info.dbname
        raise SampleError(
            f'The database "{database}" already has {len(tables)} tables ({", ".join(tables[:3])}...) '
            "and was not changed. Load the sample into an empty database."
        )


def _advance_sequences(connection: psycopg.Connection) -> None:
    """Set every sequence to the highest id that was loaded explicitly."""
    owned = connection.execute("""
        SELECT s.oid::regclass::text, d.refobjid::regclass::text, a.attname
        FROM pg_class s
        JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE s.relkind = 'S' AND s.relnamespace = 'public'::regnamespace ORDER BY 1
    """).fetchall()
    for sequence, table, column in owned:
        query = sql.SQL("SELECT setval({sequence}::regclass, max({column})) FROM {table}").format(
            sequence=sequence, column=sql.Identifier(column), table=sql.Identifier(table)
        )
        connection.execute(query)


def _count_rows(connection: psycopg.Connection) -> dict[str, int]:
    counts: dict[str, int] = {}
    for table in _user_tables(connection):
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
        counts[table] = row[0] if row else 0
    return counts
