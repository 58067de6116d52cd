import pytest

from backup_playbook.engines.mongodb.connection import MongoServer, release

PASSWORD = "s3cret%2F"


def test_label_and_repr_hold_no_password() -> None:
    server = MongoServer(f"mongodb://backup:{PASSWORD}@a:1,b:2/admin", "shop")
    assert server.label == "shop at a:1,b:2 as backup"
    assert PASSWORD not in repr(server)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (MongoServer("mongodb://h:1/", "shop"), "mongodb://h:1/shop"),
        (MongoServer("mongodb://u:p@h:1", "shop", {"tls": True}), "mongodb://u:p@h:1/shop?tls=true&authSource=admin"),
        (MongoServer("mongodb://u:p@h/users?w=1", "a shop"), "mongodb://u:p@h/a%20shop?w=1&authSource=users"),
        (
            MongoServer("mongodb+srv://u:p@h/", "shop", {"authSource": "x", "retryWrites": False}),
            "mongodb+srv://u:p@h/shop?authSource=x&retryWrites=false",
        ),
    ],
)
def test_url_for_applications(server: MongoServer, expected: str) -> None:
    assert server.url == expected


def test_releases_are_compared_as_numbers() -> None:
    assert release("10.0.1") > release("8.0.4") == release("8.0.12-rc1")
