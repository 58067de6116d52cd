from backup_playbook.engines.mongodb.proof import _described


def test_an_index_without_a_collation_has_the_simple_one() -> None:
    index = {"v": 2, "key": {"name": 1}, "name": "name_1"}
    assert _described({**index, "collation": {"locale": "simple"}}) == _described(index)
    assert _described({**index, "collation": {"locale": "de"}}) != _described(index)
