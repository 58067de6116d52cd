"""Each check passes on a healthy shop and fails on the damage that it is there to find."""

import psycopg
import pytest

from embedded.postgres import PostgresServer
from include.sample import check
from include.sample.checks import CHECKS

# What a bad restore leaves behind. session_replication_role lets rows be damaged without triggers and foreign keys.
DAMAGE = {
    "tables_hold_data": "DELETE FROM profiles",
    "foreign_keys_hold": "DELETE FROM orders WHERE id = 7",
    "order_totals_add_up": "UPDATE orders SET total = total + 0.01 WHERE id = 3",
    "payments_match_orders": "DELETE FROM payments WHERE status = 'captured'",
    "login_works": "UPDATE users SET password_hash = 'sha256$000000$00' WHERE id = 1",
    "search_finds_products": "UPDATE products SET name = 'x', description = 'y'",
    "product_sales_agree": "DELETE FROM order_items WHERE order_id = 5",
    "triggers_fire": "ALTER TABLE order_items DISABLE TRIGGER order_items_total",
    "new_ids_are_free": "SELECT setval('orders_id_seq', 1)",
    "images_are_intact": "SELECT lo_put(content, 0, '\\x00ff00ff') FROM product_images LIMIT 1",
}


def failed(dsn: str) -> dict[str, str]:
    return {result.name: result.detail for result in check(dsn) if not result.ok}


def test_a_healthy_shop_passes(loaded_shop: str, postgres18: PostgresServer) -> None:
    results = check(postgres18.dsn(loaded_shop))
    assert [result.name for result in results] == list(CHECKS)
    assert {result.name: result.detail for result in results if not result.ok} == {}


def test_there_is_damage_for_every_check() -> None:
    assert set(DAMAGE) == set(CHECKS)


@pytest.mark.parametrize("name", DAMAGE)
def test_finds_the_damage(name: str, shop: str) -> None:
    with psycopg.connect(shop) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(DAMAGE[name])
    found = failed(shop)
    assert name in found
    assert "could not run" not in found[name]


def test_checking_changes_nothing(shop: str) -> None:
    def state() -> list[tuple[object, ...]]:
        with psycopg.connect(shop) as connection:
            return connection.execute("SELECT sum(total), (SELECT count(*) FROM order_items) FROM orders").fetchall()

    before = state()
    check(shop)
    assert state() == before


def test_a_missing_table_is_a_failed_check_and_not_a_crash(shop: str) -> None:
    with psycopg.connect(shop) as connection:
        connection.execute("DROP TABLE product_images")
    assert "could not run" in failed(shop)["images_are_intact"]


def test_a_deleted_user_takes_the_orders_along_and_the_shop_stays_healthy(shop: str) -> None:
    with psycopg.connect(shop) as connection:
        (user_id,) = connection.execute(
            "SELECT user_id FROM orders WHERE user_id > 1 ORDER BY id LIMIT 1"
        ).fetchone() or (0,)
        connection.execute("DELETE FROM users WHERE id = %s", [user_id])
        orders = connection.execute("SELECT count(*) FROM orders WHERE user_id = %s", [user_id]).fetchone()
        connection.execute("REFRESH MATERIALIZED VIEW product_sales")
    assert orders == (0,)
    assert failed(shop) == {}
