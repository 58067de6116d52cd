"""The endings of a restore test and of a restore beside production: report, evidence, message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from backup_playbook.core.markdown import cell, code
from backup_playbook.core.progress import human_bytes, human_seconds
from backup_playbook.core.report import Report, Table
from backup_playbook.core.words import counted
from backup_playbook.operators.handoffs import Restoring
from backup_playbook.operators.recovery_report import not_covered, recovery_evidence, recovery_report
from backup_playbook.operators.report import Ended, Ending

if TYPE_CHECKING:
    from backup_playbook.connections.base import Access


class DocumentRestoreTest(Ending):
    """End a restore test: its report, and evidence beside the backup: restored and proven, or damaged.

    :param steps: the steps of the test, in the order in which they can fail.
    """

    kind = "restore-test"
    title: ClassVar[str] = "Restore test"
    announces = False

    def describe(self, known: Restoring | None, end: Ended, now: datetime) -> dict[str, Any]:
        """Return what the report says."""
        if known is None:
            nothing = f"There is no backup of {self.source} to restore: {end.problem}"
            return {"headline": f"{self.title} of {self.source}: no backup", "in_short": nothing}
        return restore_report(self.access, self.title, known, end, now)

    def write_evidence(self, known: Restoring, end: Ended, report: Report, address: str) -> list[str]:
        """Write that the backup is damaged, or that it was restored and proven."""
        return recovery_evidence(self.access, known, end, report, address)


class DocumentRestore(DocumentRestoreTest):
    """End a restore: its report, or, when production was to be replaced, that of the recovery; tell people.

    :param steps: the steps of both ways, in the order in which they can fail.
    """

    kind = "restore"
    title = "Restore"
    announces = True

    def describe(self, known: Restoring | None, end: Ended, now: datetime) -> dict[str, Any]:
        """Return what the report says."""
        if known and known.replacing:
            return recovery_report(self.access, known, end, now)
        said = super().describe(known, end, now)
        if known and known.kept:
            where = f"as {known.kept} on {known.target}"
            failed = f"Restore of {self.source} {where} failed at {end.failed}"
            said["headline"] = failed if end.failed else f"{self.source} was restored {where}"
        return said


def restore_report(access: Access, title: str, known: Restoring, end: Ended, finished: datetime) -> dict[str, Any]:
    """Return what the report of a copy says that was restored, or failed to be."""
    took, objective = finished - known.started_at, access.config.objectives_of(access.name).rto
    met = "within" if took <= objective else "*over*"
    manifest = access.backups.manifest(known.repository, known.backup_id) if known.proof else None
    proven = [
        (f"{table.namespace}.{table.name}", table.rows, table.bytes)
        for table in (manifest.tables if manifest else ())
        if not known.tables or f"{table.namespace}.{table.name}" in known.tables
    ]
    amount = access.engine.words.amount(len(proven), sum(rows for _, rows, _ in proven))
    size = human_bytes(sum(size for *_, size in proven) if known.only else manifest.content_bytes) if manifest else ""
    checks = end.facts.get("checks") or []
    comparison = end.facts.get("comparison") or []
    seconds, rto = human_seconds(took.total_seconds()), human_seconds(objective.total_seconds())
    beside = not_covered(known)
    stays = known.kept if known.kept and not end.failed else ""
    undo = access.database_engine.undo_kept(stays) if stays else ""
    passed = f"{counted(len(checks), 'application check')} passed; " if checks else ""
    uncovered = "".join(f" {title}: {', '.join(what)}." for title, what in beside.items())
    in_short = (
        f"`{end.failed}` failed for {known.backup_id} from {known.repository}. {end.problem}"
        if end.failed
        else f"{known.backup_id} from {known.repository}: {amount}, {size} equal byte for byte; "
        f"{passed}took {seconds}, {met} the RTO of {rto}.{uncovered}"
    )
    verdict = f"FAILED at {end.failed}" if end.failed else "restored and proven equal"
    target = known.target or (access.settings.restore_test.target if access.settings.restore_test else "no target")
    owners = ", with owners and grants" if known.owners else ""
    owners = f", without owners and grants: {known.owners_lack}" if known.owners_lack else owners
    facts = {
        "restored into": cell(f"{known.kept or known.scratch or 'no scratch'} on {target}{owners}"),
        "took": f"{seconds}, {met} the objective (RTO) of {rto}",
        **({"proven byte for byte": f"{amount}, {size}"} if proven else {}),
        **{title.lower(): cell("; ".join(what)) for title, what in beside.items()},
        **({"stays as": code(stays)} if stays else {}),
    }
    tables = (_checks(checks), _comparison(comparison), _proof(proven))
    return {
        "headline": f"{title} of {access.name}: {verdict}",
        "in_short": in_short,
        "took": took,
        "facts": facts,
        "tables": tuple(table for table in tables if table.rows),
        "remarks": (
            *([f"It took longer than the RTO of {rto}."] if took > objective else []),
            *([known.remark] if known.remark else []),
            *(f"Compared with production: {one['table']} {one['remark']}." for one in comparison if one["remark"]),
        ),
        "undo": code(undo) if undo else "",
    }


def _checks(checks: Sequence[dict[str, Any]]) -> Table:
    rows = tuple((one["name"], "ok" if one["ok"] else "FAILED", one["detail"]) for one in checks)
    return Table(title="Application checks", head=("check", "result", "detail"), rows=rows)


def _comparison(comparison: Sequence[dict[str, Any]]) -> Table:
    rows = tuple((one["table"], _count(one["then"]), _count(one["now"]), one["remark"]) for one in comparison)
    head = ("table", "in the backup", "in production", "remark")
    return Table(title="Rows then and now", head=head, rows=rows)


def _proof(proven: Sequence[tuple[str, int, int]]) -> Table:
    rows = tuple((name, f"{rows:,}", f"{size:,}", "equal") for name, rows, size in proven)
    return Table(title="Proof", head=("table", "rows", "bytes", "digest"), rows=rows)


def _count(rows: int | None) -> str:
    return "-" if rows is None else f"{rows:,}"
