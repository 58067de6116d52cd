"""The findings of the daily verification: what people are told, and when it keeps silent."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar

from airflow.sdk import BaseOperator, Context, Variable
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.config import load_config
from backup_playbook.core.health import Finding, gravest_first
from backup_playbook.core.open_problems import OpenProblem, what_to_tell
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import TOLD, run_url
from backup_playbook.notifiers.slack import deliver
from backup_playbook.operators.handoffs import Assessment

log = logging.getLogger(__name__)

T = TypeVar("T")

VARIABLE = "backup_playbook_open_problems"
GRAVE = ("critical", "high")


class ReportFindings(BaseOperator):
    """Tell people what is new and what is resolved; on a day without findings, once, that all is well.

    Returns the findings, a line each. Fails, and with it the run, on critical and high ones.

    :param sources: the names, in the order in which the assessments are mapped.
    :param assessed: the mapped step that assesses a source.
    :param accept: id of a backup that a person finds good, or empty.
    """

    template_fields: Sequence[str] = ("sources", "accept")

    def __init__(self, *, sources: Any, assessed: BaseOperator, accept: str = "", **arguments: Any) -> None:
        super().__init__(**{"retries": 0, "trigger_rule": "all_done", **arguments})
        self.sources: Any = sources
        self.assessed = assessed.task_id
        self.accept = accept

    def execute(self, context: Context) -> list[str]:
        """Report them."""
        instance, sources = context["ti"], self.sources
        if not sources:
            raise AirflowFailException("No source was looked at. What to do: open the red task that lists them.")
        given = [instance.xcom_pull(self.assessed, map_indexes=index) for index in range(len(sources))]
        assessed = [Assessment.read(one) if one else None for one in given]
        findings = sorted(_findings(sources, assessed), key=gravest_first)
        news = _News(run_url(instance.dag_id, instance.run_id))
        news.tell(findings, [one for one in assessed if one])
        news.save()
        if self.accept and not any(one and one.accepted for one in assessed):
            raise AirflowFailException(
                f"Nothing was accepted: no source has a backup {self.accept} of which a restored copy was not equal. "
                "What to do: Copy the id from the finding."
            )
        if not news.untold:
            instance.xcom_push(key=TOLD, value=True)
        lines = [f"{finding.severity}: {_headline(finding)} What to do: {finding.remedy}" for finding in findings]
        if grave := [line for line, finding in zip(lines, findings, strict=True) if finding.severity in GRAVE]:
            raise AirflowFailException("\n".join(grave))
        return lines


def _findings(sources: Sequence[str], assessed: Sequence[Assessment | None]) -> list[Finding]:
    found = []
    for source, assessment in zip(sources, assessed, strict=True):
        if assessment:
            found += [Finding(**finding) for finding in assessment.findings]
        else:
            found.append(_unassessed(source))
    return found


def _unassessed(source: str) -> Finding:
    return Finding(
        key=f"{source}/unassessed",
        severity="critical",
        source=source,
        what="Its backups could not be looked at.",
        means="Whether it has a good backup is not known.",
        remedy="Open the red task `assess` of this source, and clear it when the cause is gone.",
        blinding=True,
    )


class _News:
    """The news since the last run. An Airflow Variable keeps what people know already, no more than was delivered."""

    def __init__(self, link: str) -> None:
        self._link = link
        self._now = datetime.now(UTC)
        known = _known()
        self._told = {key: OpenProblem(**problem) for key, problem in known.get("open", {}).items()}
        self._all_well_on = known.get("all_well_on", "")
        self.untold = 0

    def tell(self, findings: Sequence[Finding], assessed: Sequence[Assessment]) -> None:
        new, ended, still_open = what_to_tell(self._told, findings)
        for together in _together({finding.key: finding for finding in new}):
            first = together[0]
            message = Message(
                severity=first.severity,
                headline=_headline(*together),
                lines=tuple(f"*{one.source}*: {one.means}" if len(together) > 1 else one.means for one in together),
                remedy=first.remedy,
                link=self._link,
            )
            if self._deliver(message):
                self._told |= {one.key: OpenProblem.of(one, self._now) for one in together}
        for problems in _together({key: (key, problem) for key, problem in ended.items()}):
            (_, first_problem), *_ = problems
            headline = f"Resolved: {_headline(*(problem for _, problem in problems))}"
            lines = (f"It was first told on {first_problem.since[:16].replace('T', ' ')} UTC.",)
            message = Message(
                severity=first_problem.severity, headline=headline, lines=lines, link=self._link, over=True
            )
            if self._deliver(message):
                for key, _ in problems:
                    del self._told[key]
        if still_open:
            log.info("People know already of: %s", "; ".join(map(_headline, still_open)))
        if not findings:
            self._say_that_all_is_well(assessed)

    def save(self) -> None:
        open_ = {key: asdict(problem) for key, problem in self._told.items()}
        Variable.set(VARIABLE, json.dumps({"open": open_, "all_well_on": self._all_well_on}, indent=1))

    def _say_that_all_is_well(self, assessed: Sequence[Assessment]) -> None:
        today = f"{self._now:%Y-%m-%d}"
        if self._all_well_on == today:
            return
        headline = "All sources are as safely backed up as promised"
        if len(assessed) == 1:
            headline = f"{assessed[0].source} is as safely backed up as promised"
        lines = tuple(f"*{one.source}*: {one.in_short}" for one in assessed)
        if self._deliver(Message(severity="info", headline=headline, lines=lines, link=self._link)):
            self._all_well_on = today

    def _deliver(self, message: Message) -> bool:
        """Whether people hear of it, or do not want to."""
        log.info("%s", message.text())
        if deliver(message) or getattr(load_config().alerts, message.severity) is None:
            return True
        self.untold += 1
        return False


def _headline(*together: Finding | OpenProblem) -> str:
    return f"{', '.join(one.source for one in together)}: {together[0].what}"


def _together(by_key: Mapping[str, T]) -> list[list[T]]:
    """Group what concerns every source alike, such as a repository that does not answer; all else stands alone."""
    groups: dict[str, list[T]] = {}
    for key, one in by_key.items():
        check = key.partition("/")[2]
        groups.setdefault(check if check.startswith("unreadable/") else key, []).append(one)
    return list(groups.values())


def _known() -> dict[str, Any]:
    """Whatever else somebody wrote into the Variable is replaced: then everything is told again."""
    text = Variable.get(VARIABLE, default="{}")
    try:
        known = json.loads(text)
        for problem in known.get("open", {}).values():
            OpenProblem(**problem)
    except (ValueError, TypeError, AttributeError):
        log.warning("The Airflow Variable %s holds something else than open problems: it is written anew.", VARIABLE)
        return {}
    return dict(known)
