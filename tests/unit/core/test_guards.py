import pytest

from backup_playbook.core.errors import GuardError
from backup_playbook.core.guards import (
    CollectionsIdentity,
    DatabaseIdentity,
    require_no_production_collections,
    require_not_production,
)

SHOP = DatabaseIdentity("7461", 16385, "shop")


@pytest.mark.parametrize("name", ["shop", "another name"])
def test_production_is_recognised_by_server_and_oid(name: str) -> None:
    with pytest.raises(GuardError) as caught:
        require_not_production(DatabaseIdentity("7461", 16385, name), [DatabaseIdentity("1", 1, "other"), SHOP])
    assert name in caught.value.what
    assert "production database shop" in caught.value.what
    assert "Nothing was touched" in caught.value.remedy


@pytest.mark.parametrize(("server", "oid"), [("7462", 16385), ("7461", 16386)])
def test_another_database_of_the_same_name_is_none(server: str, oid: int) -> None:
    require_not_production(DatabaseIdentity(server, oid, "shop"), [SHOP])


def test_nothing_is_production() -> None:
    require_not_production(SHOP, [])


def test_mongodb_production_is_recognised_by_one_collection() -> None:
    production = CollectionsIdentity("reviews", frozenset({"a", "b"}))
    with pytest.raises(GuardError, match="scratch_x is the production database reviews"):
        require_no_production_collections(CollectionsIdentity("scratch_x", frozenset({"b", "c"})), [production])
    for other in ({"c"}, set()):
        require_no_production_collections(CollectionsIdentity("reviews", frozenset(other)), [production])
