import random

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_playbook.core.errors import VerificationError
from backup_playbook.engines.mongodb.documents import DocumentCounter, batches

DOCUMENTS = [bson.encode({"_id": number, "body": "x" * (number * 7 % 50)}) for number in range(40)]
CONTENT = b"".join(DOCUMENTS)


def cut(content: bytes, seed: int) -> list[bytes]:
    chance, blocks = random.Random(seed), []
    while content:
        size = chance.choice([1, 2, 3, 5, 30, 200])
        blocks.append(content[:size])
        content = content[size:]
    return blocks


def counted(blocks: list[bytes]) -> int:
    counter = DocumentCounter()
    for block in blocks:
        counter.update(block)
    return counter.finish()


@given(st.integers(0, 10_000))
def test_blocks_may_end_anywhere(seed: int) -> None:
    assert counted(cut(CONTENT, seed)) == len(DOCUMENTS)
    found = list(batches(cut(CONTENT, seed), most_bytes=300))
    assert [document for batch in found for document in batch] == DOCUMENTS
    assert max(sum(map(len, batch)) for batch in found) < 300 + 200


def test_nothing() -> None:
    assert counted([]) == 0
    assert list(batches([])) == []


def test_a_document_larger_than_a_batch_travels_whole() -> None:
    large = bson.encode({"s": "x" * 5000})
    found = list(batches(cut(DOCUMENTS[0] + large + DOCUMENTS[1], 1), most_bytes=100))
    assert [document for batch in found for document in batch] == [DOCUMENTS[0], large, DOCUMENTS[1]]


@pytest.mark.parametrize(
    "content", [CONTENT[:-1], CONTENT[:2], CONTENT + b"\1", b"\0\0\0\0" + CONTENT, b"\xff" * 40, b"\4\0\0\0"]
)
def test_what_are_no_documents(content: bytes) -> None:
    with pytest.raises(VerificationError, match="none: their lengths do not fit"):
        counted([content])
    with pytest.raises(VerificationError, match="none: their lengths do not fit"):
        list(batches([content]))
