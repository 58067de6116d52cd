"""What the application's own integration tests would check on a database before it is trusted again.

The checks know nothing of the data's size or seed: they hold for every healthy shop, also after customers have used it.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

Connection = psycopg.Connection[TupleRow]


class CheckResult(NamedTuple):
    name: str
    ok: bool
    detail: str


class CheckFailedError(Exception):
    """The database is readable but wrong; the message is the check's detail."""


def check(dsn: str) -> list[CheckResult]:
    """Run all checks on the database at `dsn`; nothing is changed (what a check writes is rolled back).

    A check that cannot run, for example because a table is missing, counts as failed. Raises
    psycopg.OperationalError if there is no connection at all.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        return [_run(connection, name, run) for name, run in CHECKS.items()]


def _run(connection: Connection, name: str, run: Callable[[Connection], str]) -> CheckResult:
    try:
        with connection.transaction(force_rollback=True):
            return CheckResult(name, True, run(connection))
    except CheckFailedError as failure:
        return CheckResult(name, False, str(failure))
    except psycopg.Error as error:
        return CheckResult(name, False, f"could not run: {str(error).strip()}")


def _one(connection: Connection, query: str | sql.SQL | sql.Composed, *parameters: object) -> TupleRow:
    row = connection.execute(query, parameters or None).fetchone()
    if row is None:
        raise CheckFailedError("found no row where one was expected")
    return row


def _tables_hold_data(connection: Connection) -> str:
    tables = ("users", "profiles", "addresses", "products", "orders", "order_items", "payments", "audit_log")
    empty = [
        table
        for table in tables
        if not _one(connection, sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(table)))[0]
    ]
    if empty:
        raise CheckFailedError(f"empty: {', '.join(empty)}")
    return f"{len(tables)} tables"


def _foreign_keys_hold(connection: Connection) -> str:
    """Look for orphans: that a key exists says nothing about rows that were loaded with triggers disabled."""
    keys = connection.execute("""
        SELECT conname, conrelid::regclass::text, confrelid::regclass::text, convalidated,
               (SELECT string_agg(format('child.%I = parent.%I', c.attname, p.attname), ' AND ')
                FROM unnest(conkey, confkey) AS pairs (child_column, parent_column)
                JOIN pg_attribute c ON c.attrelid = conrelid AND c.attnum = child_column
                JOIN pg_attribute p ON p.attrelid = confrelid AND p.attnum = parent_column) AS matches,
               (SELECT string_agg(format('child.%I IS NOT NULL', a.attname), ' AND ')
                FROM pg_attribute a WHERE a.attrelid = conrelid AND a.attnum = ANY (conkey)) AS present
        FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY conname
    """).fetchall()
    if not keys:
        raise CheckFailedError("the database has no foreign keys at all")
    for name, child, parent, validated, matches, present in keys:
        has_parent = f"EXISTS (SELECT FROM {parent} parent WHERE {matches})"
        (orphans,) = _one(connection, f"SELECT count(*) FROM {child} child WHERE {present} AND NOT {has_parent}")
        if orphans or not validated:
            raise CheckFailedError(
                f"{name}: {orphans} rows of {child} point to nothing in {parent}, validated: {validated}"
            )
    return f"{len(keys)} foreign keys, no orphans"


def _order_totals_add_up(connection: Connection) -> str:
    wrong, orders = _one(
        connection,
        """
        WITH items AS (SELECT order_id, sum(line_total) AS total FROM order_items GROUP BY order_id)
        SELECT count(*) FILTER (WHERE o.total <> coalesce(i.total, 0)), count(*)
        FROM orders o LEFT JOIN items i ON i.order_id = o.id
        """,
    )
    if wrong:
        raise CheckFailedError(f"{wrong} of {orders} orders have a total that is not the sum of their items")
    return f"{orders} orders equal the sum of their items"


def _payments_match_orders(connection: Connection) -> str:
    (wrong,) = _one(
        connection,
        """
        WITH paid AS (
            SELECT order_id, sum(amount) AS amount FROM payments
            WHERE status IN ('captured', 'refunded') GROUP BY order_id
        )
        SELECT count(*) FROM orders o LEFT JOIN paid p ON p.order_id = o.id
        WHERE o.status IN ('paid', 'shipped', 'delivered', 'cancelled')
            AND p.amount IS DISTINCT FROM CASE WHEN o.status = 'cancelled' THEN 0 ELSE o.total END
        """,
    )
    if wrong:
        raise CheckFailedError(f"{wrong} orders were paid with another amount than their total")
    return "paid orders are paid in full, cancelled ones refunded"


def _login_works(connection: Connection) -> str:
    user_id, email, stored = _one(connection, "SELECT id, email, password_hash FROM users ORDER BY id LIMIT 1")
    (found,) = _one(connection, "SELECT id FROM users WHERE lower(email) = lower(%s)", email.upper())
    _, salt, expected = stored.split("$")
    actual = hashlib.sha256(f"{salt}password-{user_id}".encode()).hexdigest()
    if found != user_id or actual != expected:
        raise CheckFailedError(f"user {user_id} is not found by e-mail address and password")
    return f"user {user_id} logs in"


def _search_finds_products(connection: Connection) -> str:
    (found, indexed) = _one(
        connection,
        """
        SELECT count(*) FILTER (WHERE search @@ websearch_to_tsquery('pg_catalog.english', 'bicycles')),
               count(*) FILTER (WHERE name || description ~* '\\mbicycles?\\M')
        FROM products
        """,
    )
    if found != indexed or not found:
        raise CheckFailedError(f"the full-text search finds {found} bicycles, the products' text names {indexed}")
    return f"{found} products found"


def _product_sales_agree(connection: Connection) -> str:
    (different,) = _one(
        connection,
        """
        WITH items AS (
            SELECT product_id, sum(quantity) AS units, sum(line_total) AS revenue FROM order_items GROUP BY product_id
        )
        SELECT count(*) FROM product_sales s FULL JOIN items i USING (product_id)
        WHERE (s.units, s.revenue) IS DISTINCT FROM (i.units, i.revenue)
        """,
    )
    if different:
        raise CheckFailedError(f"{different} products differ from order_items: REFRESH MATERIALIZED VIEW product_sales")
    return "the materialised view equals its query"


def _triggers_fire(connection: Connection) -> str:
    """Add an item to an order: the total, the audit log and updated_at must follow. The caller rolls back."""
    order_id, before = _one(connection, "SELECT id, total FROM orders ORDER BY id LIMIT 1")
    line_total, product_id = _one(
        connection,
        """
        INSERT INTO order_items (order_id, line_no, product_id, quantity, unit_price)
        SELECT %s, (SELECT max(line_no) + 1 FROM order_items WHERE order_id = %s), id, 2, price
        FROM products ORDER BY id LIMIT 1
        RETURNING line_total, product_id
        """,
        order_id,
        order_id,
    )
    total, fresh = _one(connection, "SELECT total, updated_at >= now() FROM orders WHERE id = %s", order_id)
    (audited,) = _one(
        connection,
        "SELECT count(*) FROM audit_log WHERE entity = 'orders' AND entity_id = %s AND occurred_at >= now()",
        order_id,
    )
    if total != before + line_total or not fresh or not audited:
        raise CheckFailedError(
            f"order {order_id} got an item of product {product_id}: total {before} -> {total}, +{line_total} expected; "
            f"updated_at touched: {fresh}, audit rows: {audited}"
        )
    return "total, updated_at and audit log follow a new order item"


def _new_ids_are_free(connection: Connection) -> str:
    """A sequence behind its table makes the first INSERT after a restore fail."""
    for table in ("users", "orders", "audit_log", "page_views"):
        query = sql.SQL("SELECT last_value + is_called::int, (SELECT coalesce(max(id), 0) FROM {}) FROM {}").format(
            sql.Identifier(table), sql.Identifier(f"{table}_id_seq")
        )
        next_id, highest = _one(connection, query)
        if next_id <= highest:
            raise CheckFailedError(f"the next id of {table} is {next_id}, but {highest} is already taken")
    return "the sequences are ahead of their tables"


def _images_are_intact(connection: Connection) -> str:
    broken, images = _one(
        connection, "SELECT count(*) FILTER (WHERE sha256(lo_get(content)) <> sha256), count(*) FROM product_images"
    )
    if broken or not images:
        raise CheckFailedError(f"{broken} of {images} product images differ from their checksum")
    return f"{images} product images equal their checksums"


CHECKS: dict[str, Callable[[Connection], str]] = {
    "tables_hold_data": _tables_hold_data,
    "foreign_keys_hold": _foreign_keys_hold,
    "order_totals_add_up": _order_totals_add_up,
    "payments_match_orders": _payments_match_orders,
    "login_works": _login_works,
    "search_finds_products": _search_finds_products,
    "product_sales_agree": _product_sales_agree,
    "triggers_fire": _triggers_fire,
    "new_ids_are_free": _new_ids_are_free,
    "images_are_intact": _images_are_intact,
}
