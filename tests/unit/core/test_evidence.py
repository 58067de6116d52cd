"""Models of evidence: writers say all, readers take what there is."""

import pytest
from pydantic import ValidationError

from backup_playbook.core.evidence import MODELS, Evidence, Held, Rejected, Restored, Tiered, Verified
from backup_playbook.core.model import EvidenceKind

RESTORED = Restored(
    report="s3://b/reports/shop/restore-test.md", seconds={"restore": 2, "prove": 1}, rto_seconds=4, content_bytes=300,
    target="scratch_shop on staging", repository="primary", paths=None, run="scheduled__1",
)  # fmt: skip


def test_every_kind_has_a_model_of_its_own() -> None:
    assert set(MODELS) == set(EvidenceKind)
    assert all(model.kind is kind for kind, model in MODELS.items())


def test_what_is_written_is_read() -> None:
    assert Restored.read({"kind": "restored", "at": "2026-11-27", "worker": "w", **RESTORED.body()}) == RESTORED
    assert RESTORED.body()["from"] == "primary"


@pytest.mark.parametrize("model", MODELS.values())
def test_writers_have_to_say_all(model: type[Evidence]) -> None:
    with pytest.raises(ValidationError):
        model()
    with pytest.raises(ValidationError):
        Tiered(tier="daily", more="")  # type: ignore[call-arg]


def test_readers_take_what_there_is() -> None:
    verified = Verified.read({"depth": "full"})
    assert verified
    assert (verified.depth, verified.stored_bytes) == ("full", None)
    assert Held.read({}) == Held(reason=None, run_id=None)
    later = Held.read({"reason": "audit", "until": "a field of a later release"})
    assert later == Held(reason="audit", run_id=None)


@pytest.mark.parametrize("document", [{}, {"what": None}, {"what": ["a", "list"]}])
def test_a_finding_that_says_nothing_is_none(document: dict[str, object]) -> None:
    assert Rejected.read(document) is None


def test_size_that_an_old_restore_of_files_told_is_that_of_its_lists() -> None:
    old = {"seconds": {"restore": 1.0}, "content_bytes": 411, "target": "restores", "paths": 10, "run": "r"}
    found = Restored.read(old)
    assert found
    assert (found.content_bytes, found.paths) == (None, 10)
    assert Restored.read({**old, "seconds": "quick"}) is None
