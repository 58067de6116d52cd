"""The steps of a restore of files, one after the other, on a source that was backed up twice."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from backup_playbook.config import load_config
from backup_playbook.core.errors import GuardError, PlaybookError, RestoreError, VerificationError
from backup_playbook.dag_parts import connections
from backup_playbook.dag_parts.file_restore import ApproveInPlace, outcome_of
from backup_playbook.dag_parts.repositories import add_finding
from backup_playbook.operators.file_restore import (
    IN_PLACE,
    NEW_DIRECTORY,
    ChooseFilesBackup,
    ListFileVersions,
    ProveFiles,
    RestoreFiles,
)
from backup_playbook.operators.file_restore_plan import PlanFilesRestore
from backup_playbook.repository.store import ObjectStore
from embedded.s3 import S3Gateway
from tests.dags.test_nightly_file_backup import back_up
from tests.support.damage import flip_a_bit

FORM = {
    "source": "uploads", "path": None, "backup": "latest", "before": None, "version": None, "repository": "primary",
    "destination": NEW_DIRECTORY, "target": "restores", "overwrite_newer": False, "drill": False,
    "leave_out": None, "allow_unverified": False,
}  # fmt: skip


class Run:
    """One run of the DAG, whose XComs are kept here."""

    def __init__(self, **form: Any) -> None:
        self.form = {**FORM, **form}
        self.left: dict[str, Any] = {}
        ti = SimpleNamespace(dag_id="restore_files", run_id="test", xcom_push=self._push)
        self.context: Any = {"ti": ti, "run_id": "test", "params": self.form}

    def _push(self, key: str, value: Any) -> None:
        self.left.setdefault(key, value)

    def plan(self) -> Any:
        chosen = ChooseFilesBackup(
            task_id="choose_backup", source="uploads", backup=self.form["backup"], before=str(self.form["before"]),
            repository=self.form["repository"], allow_unverified=self.form["allow_unverified"],
        ).execute(self.context)  # fmt: skip
        return PlanFilesRestore(task_id="plan_restore", backup=chosen).execute(self.context)

    def restore(self) -> Path:
        restored = RestoreFiles(task_id="restore", backup=self.plan()).execute(self.context)
        self.started = restored["started_at"]
        ProveFiles(task_id="prove", backup=restored).execute(self.context)
        return Path(self.left["result"]["root"])


@pytest.fixture
def taken(uploads: Path) -> list[str]:
    """The ids of two backups: between them `a` changed, and `gone` was deleted."""
    for number in range(8):
        (uploads / f"keep{number}").write_bytes(b"content")
    (uploads / "a").write_bytes(b"before")
    (uploads / "folder").mkdir()
    (uploads / "folder/gone").write_bytes(b"precious")
    first = back_up()
    (uploads / "a").write_bytes(b"after!!")
    (uploads / "folder/gone").unlink()
    return [first["backup_id"], back_up()["backup_id"]]


def test_graph(dagbag: DagBag) -> None:
    dag = dagbag.dags["restore_files"]
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "choose_backup": {"plan_restore"},
        "plan_restore": {"approve_plan", "restore"},
        "approve_plan": {"restore"},
        "restore": {"prove"},
        "prove": {"report_result"},
        "report_result": set(),
    }


def test_everything_into_a_new_directory_is_a_proof(uploads: Path, taken: list[str]) -> None:
    run = Run(backup=taken[0])
    root = run.restore()
    assert root.parent == uploads.parent / "restores"
    assert (root / "a").read_bytes() == b"before"
    assert (root / "folder/gone").read_bytes() == b"precious"
    assert "10 files" in run.left["plan"]
    entries = {entry.backup_id: entry for entry in connections.catalog(load_config(), "primary").backups("uploads")}
    assert entries[taken[0]].proven
    assert not entries[taken[1]].proven


def test_the_second_try_begins_anew(taken: list[str]) -> None:
    run = Run(backup=taken[0])
    restored = RestoreFiles(task_id="restore", backup=(plan := run.plan())).execute(run.context)
    root = Path(run.left["result"]["root"])
    (root / "a").unlink()
    (root / "half").write_bytes(b"of a file")
    RestoreFiles(task_id="restore", backup=plan).execute(run.context)
    ProveFiles(task_id="prove", backup=restored).execute(run.context)
    assert not (root / "half").exists()


@pytest.mark.parametrize("repository", ["primary", "offsite"])
def test_a_deleted_file(taken: list[str], repository: str) -> None:
    root = Run(path="folder/gone", backup=taken[0], repository=repository).restore()
    assert [str(path.relative_to(root)) for path in sorted(root.rglob("*"))] == ["folder", "folder/gone"]


def test_a_version_that_was_listed(taken: list[str]) -> None:
    listed = ListFileVersions(task_id="list_versions", source="uploads").execute(Run(path="a").context)
    assert [(one["bytes"], one["current"]) for one in listed] == [(7, True), (6, False)]
    root = Run(path="a", version=listed[1]["version"]).restore()
    assert (root / "a").read_bytes() == b"before"
    with pytest.raises(RestoreError, match="No backup of uploads has"):
        Run(path="a", version="unknown").plan()
    with pytest.raises(RestoreError, match="no file is named"):
        Run(path="folder/", version=listed[1]["version"]).plan()


def test_deletions_are_listed(taken: list[str]) -> None:
    listed = ListFileVersions(task_id="list_versions", source="uploads").execute(Run(path="folder/").context)
    assert [(one["path"], one["deleted"]) for one in listed] == [("folder/gone", True), ("folder/gone", False)]
    with pytest.raises(RestoreError, match="never had one"):
        ListFileVersions(task_id="list_versions", source="uploads").execute(Run(path="nothing").context)


def test_in_place_asks_first_and_keeps_what_is_newer(uploads: Path, taken: list[str]) -> None:
    run = Run(backup=taken[0], destination=IN_PLACE)
    run.plan()
    lines = run.left["plan"].splitlines()
    assert "| 1 | are missing and come back | folder/gone |" in lines
    assert "| 1 | were written after the backup, and stay (*Overwrite newer* replaces them) | a |" in lines
    assert any(line.startswith("| 8 | look as backed up, and stay | keep0, keep1") for line in lines)
    assert "1 file (8 B) missing, 0 replaced, 1 newer, in place in" in run.left["in_short"]
    approve = ApproveInPlace(task_id="approve_plan", subject="", plan="plan_restore", drill="False")
    assert approve.execute(Run().context)["chosen_options"] == ["Approve"], "nobody is asked about a new directory"
    assert run.restore() == uploads
    assert (uploads / "folder/gone").read_bytes() == b"precious"
    assert (uploads / "a").read_bytes() == b"after!!"
    run = Run(backup=taken[0], destination=IN_PLACE, overwrite_newer=True)
    run.restore()
    assert f"what is there now goes to `.replaced-{taken[0]}/` there | a |" in run.left["plan"]
    assert (uploads / "a").read_bytes() == b"before"
    assert (uploads / f".replaced-{taken[0]}/a").read_bytes() == b"after!!"


def test_one_damaged_content_costs_no_other(taken: list[str], s3: S3Gateway) -> None:
    store = connections.catalog(load_config(), "primary").store
    flip_a_bit(s3.buckets / store.bucket / store.path("current/uploads/keep3"))
    run = Run(backup=taken[1])
    with pytest.raises(VerificationError, match=r"1 path could not be restored.*First: keep3"):
        run.restore()
    root, counts = run.left["result"].values()
    assert (run.left["damaged"], counts["files"], counts["failed"]) == ("rejected", 8, 1)
    assert len([path for path in Path(root).rglob("*") if path.is_file()]) == 8
    add_finding(load_config(), "uploads", taken[1], "primary", "rejected", "one content")

    with pytest.raises(PlaybookError, match="was rejected"):
        Run(backup=taken[1]).plan()
    run = Run(backup=taken[1], allow_unverified=True, leave_out=["keep3"], path="/")
    kept = {f"keep{number}" for number in range(8) if number != 3}
    assert {path.name for path in run.restore().iterdir()} == {"a", "folder", *kept}
    assert "It is not known to be sound" in run.left["plan"]
    assert "| 1 | are left out, as the form says | keep3 |" in run.left["plan"]
    assert run.left["remarks"] == ["Not in the copy (1): keep3"]
    entries = {entry.backup_id: entry for entry in connections.catalog(load_config(), "primary").backups("uploads")}
    assert not entries[taken[1]].proven


@pytest.mark.parametrize(
    ("failed", "counts", "leave_out", "headline", "severity"),
    [
        ("", {"files": 3}, [], "Files of uploads are back and proven equal: /new", "info"),
        ("", {"files": 3}, ["a"], "are back and proven equal, without 1 path that the form left out: /new", "info"),
        (
            "",
            {"files": 3, "kept_newer": 1},
            [],
            "but not 1 file written after the backup, which stayed: /new",
            "medium",
        ),
        ("", {"kept_newer": 1}, [], "Nothing of uploads was brought back: there was only 1 file written", "medium"),
        ("restore", {"files": 3, "failed": 1}, [], "Files of uploads are not all back in /new: restore failed", "high"),
        ("prove", {"files": 3}, [], "Files of uploads are in /new, and not proven: prove failed", "high"),
        ("plan_restore", None, [], "Files of uploads were not restored: plan_restore failed", "high"),
    ],
)
def test_the_headline_says_what_became_of_it(
    failed: str, counts: dict[str, int] | None, leave_out: list[str], headline: str, severity: str
) -> None:
    restored = {} if counts is None else {"root": "/new", "counts": counts}
    found = outcome_of("uploads", failed, restored, leave_out)
    assert headline in found[0]
    assert (found[1], bool(found[2])) == (severity, severity != "info")


def test_into_another_bucket(uploads: Path, taken: list[str], s3: S3Gateway) -> None:
    run = Run(backup=taken[0], target="other_bucket")
    run.restore()
    bucket, _, prefix = run.left["result"]["root"].removeprefix("s3://").partition("/")
    store = ObjectStore(s3.client(), bucket=bucket, prefix=prefix)
    assert {item.key: store.get(item.key) for item in store.list("")} == {
        "a": b"before", "folder/gone": b"precious", **{f"keep{number}": b"content" for number in range(8)},
    }  # fmt: skip
    store.put("a", b"changed")
    again = ProveFiles(task_id="prove", backup={**run.plan(), "started_at": run.started})
    with pytest.raises(VerificationError, match="SHA-256"):
        again.execute(run.context)


def test_a_path_that_is_not_in_the_backup(taken: list[str]) -> None:
    with pytest.raises(RestoreError, match="has no 'nothing'"):
        Run(path="nothing").plan()


def test_a_directory_that_is_gone_is_made_by_a_person(uploads: Path, taken: list[str]) -> None:
    uploads.rename(uploads.parent / "away")
    with pytest.raises(RestoreError, match="is not there on"):
        Run(destination=IN_PLACE).plan()


def test_names_make_no_table(uploads: Path) -> None:
    (uploads / "a|b\n<i>").write_bytes(b"content")
    (uploads / "link").symlink_to("a")
    (uploads / "other").symlink_to("a")
    back_up()
    (uploads / "a|b\n<i>").unlink()
    (uploads / "other").unlink()
    (uploads / "other").symlink_to("b")
    run = Run(destination=IN_PLACE)
    run.plan()
    lines = run.left["plan"].splitlines()
    assert "| 1 | are missing and come back | a\\|b &lt;i> |" in lines
    assert "| 1 | look as backed up, and stay | link |" in lines
    assert any(line.startswith("| 1 | differ: they are replaced") and line.endswith("| other |") for line in lines)


def test_a_target_within_a_source_is_refused(uploads: Path, taken: list[str]) -> None:
    restores = uploads.parent / "restores"
    restores.rmdir()
    restores.symlink_to(uploads)
    with pytest.raises(GuardError, match="is backed up"):
        Run().restore()
