"""The ending of a recovery: production and its users, the report, the evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from backup_playbook.core.evidence import Restored
from backup_playbook.core.markdown import cell, code
from backup_playbook.core.progress import human_age, human_seconds
from backup_playbook.core.report import Report, Table, utc
from backup_playbook.forms.dag_names import ROLLBACK
from backup_playbook.notifiers.message import Severity
from backup_playbook.operators.handoffs import Restoring
from backup_playbook.operators.report import Ended, Ending

if TYPE_CHECKING:
    from backup_playbook.connections.base import Access


class DocumentRecovery(Ending):
    """End a recovery: its report, evidence beside the backup, and the message.

    :param steps: the steps of the recovery, in the order in which they can fail.
    """

    kind = "recovery"
    remedy = (
        "open the red task and the report, and correct the cause. An exchange that failed goes on where it was when "
        "its task is cleared, with *Downstream*; after any other step start a new run: the copy is gone."
    )

    def describe(self, known: Restoring | None, end: Ended, now: datetime) -> dict[str, Any]:
        """Return what the report says."""
        if known is None or known.replacing is None:
            headline = f"A recovery of {self.source} could not be planned; nothing was touched"
            return {"headline": headline, "in_short": end.problem}
        return recovery_report(self.access, known, end, now)

    def severity(self, end: Ended) -> Severity:
        """Return how grave it is: nothing may have been exchanged, although nothing failed."""
        return recovery_severity(end)

    def write_evidence(self, known: Restoring, end: Ended, report: Report, address: str) -> list[str]:
        """Write that the backup is damaged, or that it was restored and proven."""
        return recovery_evidence(self.access, known, end, report, address)


def recovery_severity(end: Ended) -> Severity:
    """Return how grave the end of a run is that was to replace production."""
    exchanged = ((end.handoff or {}).get("replacing") or {}).get("exchanged")
    return "info" if end.rejected_by or (exchanged and not end.failed) else "high"


def recovery_evidence(access: Access, known: Restoring, end: Ended, report: Report, address: str) -> list[str]:
    """Write evidence beside the backup: it is damaged, or it was restored and proven.

    Returns what could not be written. A run that could not be made says nothing of the backup, nor does a part that is
    proven of the rest.
    """
    if end.failed and (found := end.facts.get("damaged")):
        return access.backups.add_finding(known.backup_id, known.repository, found, end.problem)
    if not known.proof or known.only or known.leave_out or (end.failed and not known.replacing):
        return []
    seconds = {"restore": 0.0, "prove": 0.0}
    for name, took in known.phases.items():
        if (step := name.partition(":")[0]) in seconds:
            seconds[step] += took
    proof = Restored(
        report=address,
        seconds=seconds,
        rto_seconds=(report.took or timedelta()).total_seconds(),
        content_bytes=None,
        target=known.kept or known.scratch,
        repository=known.repository,
        paths=None,
        run=report.run_id,
    )
    return access.backups.add_proof(known.backup_id, known.origin, proof)


def recovery_report(access: Access, known: Restoring, end: Ended, finished: datetime) -> dict[str, Any]:
    """Return what the report of a run says that was to replace production."""
    assert known.replacing
    replacing, exchanged = known.replacing, known.replacing.exchanged
    promoted_at = exchanged.promoted_at if exchanged else None
    if end.facts.get("state") == "promoted":
        promoted_at = promoted_at or finished
    waited = end.waited(replacing.planned_at)
    ready, objective = promoted_at or finished, access.config.objectives_of(access.name).rto
    took = ready - known.started_at - waited
    maintenance, window = _maintenance(end.facts)
    met = "within" if took <= objective else "*over*"
    said = {
        "took": f"Took {_span(took)} without the wait for approval, {met} the RTO of {_span(objective)}.",
        "lost": f"Lost: the writes of {human_age(ready - known.taken_at)}, since {utc(known.taken_at)}; they are in "
        f"{replacing.quarantine}.",
    }
    words = (*((said["took"], said["lost"]) if promoted_at else ()), end.problem, maintenance)
    approved_by = cell(end.approved_by) or "nobody"
    undo = {"source": access.name, "quarantine": replacing.quarantine}
    facts = {
        **({"replaced": f"{cell(replacing.live)}, kept as {code(replacing.quarantine)}"} if promoted_at else {}),
        **({"exchange": _exchange(access, known)} if exchanged else {}),
        **({} if end.rejected_by else {"waited for approval": f"{_span(waited)}; approved by {approved_by}"}),
        **({"maintenance mode": _span(window)} if window is not None else {}),
        **{title.lower(): cell("; ".join(what)) for title, what in not_covered(known).items()},
        **{title: cell(end.facts[key]) for key, title in FOUND.items() if end.facts.get(key)},
    }
    differences = tuple(
        (one["table"], _shown(one["before"]), _shown(one["after"])) for one in end.facts.get("differences") or ()
    )
    tables = Table(title="Rows before and after", head=("table", "in the quarantine", "restored"), rows=differences)
    return {
        "kind": "recovery",
        "headline": _headline(known, end, promoted=promoted_at is not None),
        "in_short": " ".join(filter(None, words)),
        "took": took,
        "facts": facts,
        "tables": (tables,) if differences else (),
        "undo": code(f"airflow dags trigger {ROLLBACK} --conf '{json.dumps(undo)}'") if promoted_at else "",
    }


FOUND = {"amcheck": "pg_amcheck of the quarantine", "log": "server log"}


def _headline(known: Restoring, end: Ended, *, promoted: bool) -> str:
    if end.failed:
        after = ", after production was exchanged" if promoted else "; production is what it was"
        if not promoted and end.facts.get("exchange_begun") and end.facts.get("state") not in ("before", "closed"):
            after = ": LOOK AT PRODUCTION FIRST, nobody knows whether it was exchanged"
        return f"Recovery of {known.source} failed at {end.failed}{after}"
    if end.rejected_by:
        return f"Recovery of {known.source} was rejected by {end.rejected_by}; nothing was touched"
    if not promoted:
        return f"Recovery of {known.source} has exchanged nothing: production is what it was"
    return f"{known.source} was recovered from {known.backup_id}"


def _exchange(access: Access, known: Restoring) -> str:
    assert known.replacing
    assert known.replacing.exchanged
    done = known.replacing.exchanged
    words: str = access.live().words.exchanged
    return words.format(seconds=done.unreachable_seconds, sessions=done.sessions_ended)


def _maintenance(facts: dict[str, Any]) -> tuple[str, timedelta | None]:
    """Return a sentence on the maintenance mode, and how long it was on."""
    on, off = facts.get("maintenance_on"), facts.get("maintenance_off")
    if left_on := facts.get("left_on"):
        return f"MAINTENANCE MODE IS STILL ON: {left_on}", None
    if not on:
        return "", None
    if not off:
        return "MAINTENANCE MODE MAY STILL BE ON: see the red task.", None
    return "The maintenance mode is off again.", datetime.fromisoformat(off) - datetime.fromisoformat(on)


def not_covered(known: Restoring) -> dict[str, Sequence[str]]:
    """Return what the word `equal` does not cover, by title."""
    said = {
        "Computed anew, not compared": known.proof.recomputed if known.proof else (),
        "Not in the copy": (known.proof.left_out if known.proof else ()) or known.left_out,
    }
    return {title: what for title, what in said.items() if what}


def _shown(value: int | str | None) -> str:
    return "no such table" if value is None else f"{value:,}" if isinstance(value, int) else value


def _span(time: timedelta) -> str:
    return human_seconds(time.total_seconds())
