"""The announcement of a nightly run: what was backed up and proven, and what was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.config import load_config
from backup_playbook.core.errors import PlaybookError
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.protection import last_verified
from backup_playbook.notifiers.runs import ERROR, KILLED, REMEDY, run_url, task_states, tell
from backup_playbook.operators.base import texts
from backup_playbook.operators.handoffs import Taken
from backup_playbook.operators.outcome import Outcome, headline, outcome, severity, stages_of


class ListSources(BaseOperator):
    """Return the sources of this run. Fails for one that left the configuration since the form was filled in.

    :param sources: names; None: all that are configured.
    """

    template_fields: Sequence[str] = ("sources",)

    def __init__(self, *, sources: Sequence[str] | str | None = None, **arguments: Any) -> None:
        super().__init__(**{"retries": 0, **arguments})
        self.sources = sources

    def execute(self, context: Context) -> list[str]:  # noqa: ARG002 - passed by name
        """List them."""
        config = load_config()
        names = list(config.sources) if self.sources is None else list(texts(self.sources))
        for name in names:
            config.source(name)
        return names


class AnnounceBackups(BaseOperator):
    """Tell people what was backed up and proven, and what was not. Returns the backups.

    Fails, and with it the run, when any step of any source did not succeed.

    :param sources: the names of the run's sources, in the order in which its steps are mapped.
    :param steps: the mapped steps, in their order; each says what its failure `means`.
    :param prune: the mapped step that removes old backups.
    :param kind: what the sources are called.
    """

    template_fields: Sequence[str] = ("sources",)

    def __init__(
        self,
        *,
        sources: Sequence[str] | str,
        steps: Sequence[BaseOperator],
        prune: Any,
        kind: str = "databases",
        **arguments: Any,
    ) -> None:
        super().__init__(**{"retries": 0, "trigger_rule": "all_done", **arguments})
        self.sources = sources
        self.stages = stages_of(steps, prune)
        self.kind = kind

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Announce."""
        instance = context["ti"]
        # what failed comes first: nobody reads to the end of a long message
        outcomes = sorted(self._outcomes(instance), key=lambda item: (item.safe, not item.failed))
        title, failed = headline(outcomes, self.kind), [item for item in outcomes if item.failed]
        message = Message(
            severity=severity(outcomes),
            headline=title,
            lines=tuple(_line(item) for item in outcomes),
            remedy=REMEDY if failed else "",
            link=run_url(instance.dag_id, instance.run_id),
        )
        tell(instance, message)
        if failed:
            problems = "; ".join(f"{item.source}: {item.problem()}. {item.why()}".rstrip(" .") for item in failed)
            raise AirflowFailException(f"{title}. {problems}. What to do: {REMEDY}")
        return [item.taken.as_json() for item in outcomes if item.taken]

    def _outcomes(self, instance: Any) -> list[Outcome]:
        # one that left the configuration since the form was filled in has failed at the first task
        sources, states = load_config().sources, task_states(instance)
        found = []
        for index, name in enumerate(texts(self.sources)):
            offsite = name in sources and bool(sources[name].offsite)
            item = outcome(name, index, self.stages, states, self._results(instance, index), offsite=offsite)
            if item.failed and item.state == "failed":  # one that was not reached has said nothing
                error = instance.xcom_pull(task_ids=item.failed.task_id, map_indexes=index, key=ERROR)
                item = replace(item, error=str(error or KILLED))
            found.append(item)
        return found

    def _results(self, instance: Any, index: int) -> dict[str, Taken]:
        steps = [stage.task_id for stage in self.stages if stage.unsafe]
        found = {step: instance.xcom_pull(task_ids=step, map_indexes=index) for step in steps}
        return {step: Taken.read(said) for step, said in found.items() if said and "seal" in said}


def _line(item: Outcome) -> str:
    if not item.failed:
        return item.line()
    consequence = "" if item.safe else f" {_last_verified(item.source)}"
    return " ".join(filter(None, [item.line(), f"*{item.problem()}.*", item.why()])) + consequence


def _last_verified(source: str) -> str:
    """Say how old the newest verified backup is. The repository may be what failed: then that is the sentence."""
    try:
        return last_verified(source).sentence()
    except PlaybookError as error:
        return f"Whether it has an older verified backup cannot be told: {error.what}"
