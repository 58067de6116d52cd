"""The steps of a restore of files, one after the other, on a source that was backed up twice."""

from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.config import load_config
from backup_playbook.connections.s3 import catalog
from backup_playbook.core.errors import ConfigError, GuardError, PlaybookError, RestoreError, VerificationError
from backup_playbook.core.model import EvidenceKind
from backup_playbook.forms.files import IN_PLACE, NEW_DIRECTORY
from backup_playbook.notifiers.runs import ERROR
from backup_playbook.operators import report
from backup_playbook.operators.approval import PLAN, ApprovePlan
from backup_playbook.operators.file_restore import ChooseFilesBackup, PlanFilesRestore, ProveFiles, RestoreFiles
from backup_playbook.operators.file_restore_report import DocumentFilesRestore, outcome_of
from backup_playbook.operators.files import ListFileVersions
from backup_playbook.operators.report import FACTS, Ended
from backup_playbook.repository.store import ObjectStore
from embedded.s3 import S3Gateway
from tests.dags.run_of_tasks import RunOfTasks
from tests.dags.test_nightly_file_backup import back_up
from tests.support.damage import flip_a_bit


class Run(RunOfTasks):
    """One run of the DAG."""

    dag_id = "restore_files"

    def __init__(
        self,
        *,
        backup: str = "latest",
        version: str = "",
        repository: str = "primary",
        allow_unverified: bool = False,
        **wanted: Any,
    ) -> None:
        super().__init__()
        self.wanted = {"destination": NEW_DIRECTORY, "target": "restores", "path": "", "leave_out": "null", **wanted}
        self.steps: list[BaseOperator] = []
        self.chosen = ChooseFilesBackup(
            task_id="choose_backup", source="uploads", backup=backup, before="None", repository=repository,
            allow_unverified=allow_unverified, version=version, path=self.wanted["path"],
        )  # fmt: skip

    def step(self, operator: BaseOperator) -> Any:
        self.steps.append(operator)
        try:
            return self.do(operator)
        except PlaybookError as error:
            self.xcom_push(ERROR, str(error))
            raise

    def plan(self) -> Any:
        return self.step(PlanFilesRestore(task_id="plan_restore", handoff=self.step(self.chosen), **self.wanted))

    def fill(self, planned: Any) -> Any:
        return self.step(RestoreFiles(task_id="restore", handoff=planned, **self.wanted))

    def prove(self, restored: Any) -> Any:
        return self.step(ProveFiles(task_id="prove", handoff=restored, **self.wanted))

    def restore(self) -> Path:
        self.prove(self.fill(self.plan()))
        return self.root

    def document(self) -> Any:
        arguments = {"target": self.wanted["target"], "leave_out": self.wanted["leave_out"]}
        return self.do(DocumentFilesRestore(task_id="report_result", source="uploads", steps=self.steps, **arguments))

    @property
    def root(self) -> Path:
        return Path(self.left["restore", FACTS]["root"])

    @property
    def shown(self) -> str:
        return str(self.left["plan_restore", PLAN])


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    messages: list[Any] = []
    monkeypatch.setattr(report, "tell", lambda instance, message: messages.append(message))
    return messages


def reports(source: str = "uploads") -> dict[str, str]:
    store = catalog(load_config(), "primary").store
    return {item.key: store.get(item.key).decode() for item in store.list(f"reports/{source}/")}


def proven() -> dict[str, bool]:
    return {entry.backup_id: bool(entry.proven) for entry in catalog(load_config(), "primary").backups("uploads")}


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


def test_everything_into_a_new_directory_is_a_proof(uploads: Path, taken: list[str], told: list[Any]) -> None:
    run = Run(backup=taken[0])
    root = run.restore()
    assert root.parent == uploads.parent / "restores"
    assert (root / "a").read_bytes() == b"before"
    assert (root / "folder/gone").read_bytes() == b"precious"
    assert "10 files" in run.shown
    done = run.document()
    assert proven() == {taken[0]: True, taken[1]: False}
    assert told[0].headline == f"Files of uploads are back and proven equal: {root}"
    assert "restored: files 10" in told[0].lines[0]
    assert done["report"].endswith(".md")
    found = next(body for key, body in reports().items() if key.endswith(".md"))
    assert f"- restored into: {root}" in found
    primary = catalog(load_config(), "primary")
    entry = primary.entry("uploads", taken[0])
    (evidence,) = [primary.read_evidence(entry, name) for name in entry.evidence if name.kind is EvidenceKind.RESTORED]
    assert evidence["content_bytes"] == 8 * len("content") + len("before") + len("precious")


def test_the_second_try_begins_anew(taken: list[str]) -> None:
    run = Run(backup=taken[0])
    restored = run.fill(plan := run.plan())
    root = run.root
    (root / "a").unlink()
    (root / "half").write_bytes(b"of a file")
    run.fill(plan)
    run.prove(restored)
    assert not (root / "half").exists()


@pytest.mark.parametrize("repository", ["primary", "offsite"])
def test_a_deleted_file(taken: list[str], repository: str) -> None:
    root = Run(path="folder/gone", backup=taken[0], repository=repository).restore()
    assert [str(path.relative_to(root)) for path in sorted(root.rglob("*"))] == ["folder", "folder/gone"]


def list_versions(path: str) -> Any:
    step = ListFileVersions(task_id="list_versions", source="uploads", path=path, repository="primary")
    return RunOfTasks().do(step)


def test_a_version_that_was_listed(taken: list[str]) -> None:
    listed = list_versions("a")
    assert [(one["bytes"], one["current"]) for one in listed] == [(7, True), (6, False)]
    root = Run(path="a", version=listed[1]["version"]).restore()
    assert (root / "a").read_bytes() == b"before"
    with pytest.raises(RestoreError, match="No backup of uploads has"):
        Run(path="a", version="unknown").plan()
    with pytest.raises(RestoreError, match="no file is named"):
        Run(path="folder/", version=listed[1]["version"]).plan()


def test_deletions_are_listed(taken: list[str]) -> None:
    listed = list_versions("folder/")
    assert [(one["path"], one["deleted"]) for one in listed] == [("folder/gone", True), ("folder/gone", False)]
    with pytest.raises(RestoreError, match="never had one"):
        list_versions("nothing")


def test_in_place_asks_first_and_keeps_what_is_newer(uploads: Path, taken: list[str]) -> None:
    run = Run(backup=taken[0], destination=IN_PLACE)
    run.plan()
    lines = run.shown.splitlines()
    assert "| 1 | are missing and come back | folder/gone |" in lines
    assert "| 1 | were written after the backup, and stay (*Overwrite newer* replaces them) | a |" in lines
    assert any(line.startswith("| 8 | look as backed up, and stay | keep0, keep1") for line in lines)
    assert "1 file (8 B) missing, 0 replaced, 1 newer, in place in" in run.left["plan_restore", "in_short"]
    approve = ApprovePlan(task_id="approve_plan", subject="", plan=run.steps[1], drill="False", needed="False")
    assert run.do(approve)["chosen_options"] == ["Approve"], "nobody is asked about a new directory"
    assert run.restore() == uploads
    assert (uploads / "folder/gone").read_bytes() == b"precious"
    assert (uploads / "a").read_bytes() == b"after!!"
    run = Run(backup=taken[0], destination=IN_PLACE, overwrite_newer=True)
    run.restore()
    assert f"what is there now goes to `.replaced-{taken[0]}/` there | a |" in run.shown
    assert (uploads / "a").read_bytes() == b"before"
    assert (uploads / f".replaced-{taken[0]}/a").read_bytes() == b"after!!"


def test_one_damaged_content_costs_no_other(taken: list[str], s3: S3Gateway, told: list[Any]) -> None:
    store = catalog(load_config(), "primary").store
    flip_a_bit(s3.buckets / store.bucket / store.path("current/uploads/keep3"))
    run = Run(backup=taken[1])
    with pytest.raises(VerificationError, match=r"1 path could not be restored.*First: keep3"):
        run.restore()
    facts = run.left["restore", FACTS]
    counts = facts["restored"]
    assert (facts["damaged"], counts["files"], counts["failed"]) == ("rejected", 8, 1)
    assert len([path for path in run.root.rglob("*") if path.is_file()]) == 8
    with pytest.raises(AirflowFailException, match="are not all back in"):
        run.document()
    assert "First: keep3" in told[0].lines[0]

    with pytest.raises(PlaybookError, match="was rejected"):
        Run(backup=taken[1]).plan()
    run = Run(backup=taken[1], allow_unverified=True, leave_out='["keep3"]', path="/")
    kept = {f"keep{number}" for number in range(8) if number != 3}
    assert {path.name for path in run.restore().iterdir()} == {"a", "folder", *kept}
    assert "It is not known to be sound" in run.shown
    assert "| 1 | are left out, as the form says | keep3 |" in run.shown
    assert run.left["prove", FACTS]["remarks"] == ["Not in the copy (1): keep3"]
    assert run.document()["remarks"] == ["Not in the copy (1): keep3"]
    assert not proven()[taken[1]]


def test_a_rejected_restore_touches_nothing_and_is_no_failure(uploads: Path, taken: list[str], told: list[Any]) -> None:
    run = Run(backup=taken[0], destination=IN_PLACE)
    run.plan()
    approve = ApprovePlan(task_id="approve_plan", subject="", plan=run.steps[1], drill="False")
    run.steps.append(approve)
    run.states |= {"approve_plan": "success", "restore": "skipped", "prove": "skipped"}
    run.left["approve_plan", FACTS] = {"rejected_by": "Ada"}
    run.document()
    assert told[0].severity == "info"
    assert told[0].headline == "Files of uploads were not restored: Ada rejected it; nothing was touched"
    assert any("Ada rejected it" in body for key, body in reports().items() if key.endswith(".md"))


def test_a_run_without_a_backup_has_a_report_too(uploads: Path, told: list[Any]) -> None:
    run = Run()
    with pytest.raises(PlaybookError, match="no backup"):
        run.plan()
    with pytest.raises(AirflowFailException, match="were not restored: choose_backup failed"):
        run.document()
    assert any("choose_backup failed" in body for body in reports().values())


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
    restored = {} if counts is None else {"root": "/new", "restored": counts}
    phases = {"restore": 1.0} if failed == "prove" else {}
    found = outcome_of("uploads", Ended(failed, "", restored, {"phases": phases}), leave_out)
    assert headline in found[0]
    assert (found[1], bool(found[2])) == (severity, severity != "info")


def test_into_another_bucket(uploads: Path, taken: list[str], s3: S3Gateway) -> None:
    run = Run(backup=taken[0], target="other_bucket")
    run.restore()
    bucket, _, prefix = run.left["restore", FACTS]["root"].removeprefix("s3://").partition("/")
    store = ObjectStore(s3.client(), bucket=bucket, prefix=prefix)
    assert {item.key: store.get(item.key) for item in store.list("")} == {
        "a": b"before", "folder/gone": b"precious", **{f"keep{number}": b"content" for number in range(8)},
    }  # fmt: skip
    store.put("a", b"changed")
    with pytest.raises(VerificationError, match="SHA-256"):
        run.prove(run.left["restore", "return_value"])


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
    lines = run.shown.splitlines()
    assert "| 1 | are missing and come back | a\\|b &lt;i> |" in lines
    assert "| 1 | look as backed up, and stay | link |" in lines
    assert any(line.startswith("| 1 | differ: they are replaced") and line.endswith("| other |") for line in lines)


def test_a_target_within_a_source_is_refused(uploads: Path, taken: list[str]) -> None:
    restores = uploads.parent / "restores"
    restores.rmdir()
    restores.symlink_to(uploads)
    with pytest.raises(GuardError, match="is backed up"):
        Run().restore()


def test_a_source_of_another_engine_is_refused(uploads: Path) -> None:
    with pytest.raises(ConfigError, match="is of the engine postgres, and not of files"):
        RunOfTasks().do(ListFileVersions(task_id="list_versions", source="shop", path="a", repository="primary"))
