"""The bases of all operators: a source, its access, and what goes from task to task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from airflow.sdk import BaseOperator, Context, XComArg

from backup_playbook.config import PlaybookConfig, load_config
from backup_playbook.operators.handoffs import Handoff
from backup_playbook.streams.processes import Cancellation

if TYPE_CHECKING:
    from backup_playbook.connections.base import Access

T = TypeVar("T", bound=Handoff)


class PlaybookOperator(BaseOperator):
    """A step for one source. Mapped, the grid shows the sources' names.

    What needs boto3, psycopg or a provider is imported when a task runs: DAG files are parsed all the time.
    """

    source: str
    carries: ClassVar[bool] = False
    """Whether it returns a hand-off, which reports read."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{"map_index_template": "{{ task.source }}", **arguments})

    @cached_property
    def config(self) -> PlaybookConfig:
        """The configuration, as it is when the task runs."""
        return load_config()

    @cached_property
    def access(self) -> Access:
        """The access to the source. Raises ConfigError when the configuration has it no more."""
        from backup_playbook.connections.registry import access

        return access(self.config, self.source)

    @cached_property
    def cancellation(self) -> Cancellation:
        """The end of this run of the task, for the programs and threads that it starts."""
        return Cancellation()

    def on_kill(self) -> None:
        """End psql, pg_dump and gpg with the task: it was marked as failed, or cleared while it ran."""
        self.cancellation.cancel()


class SourceOperator(PlaybookOperator):
    """A step that is told its source."""

    template_fields: Sequence[str] = ("source",)

    def __init__(self, *, source: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.source = source


class HandoffOperator(PlaybookOperator, Generic[T]):
    """A step on what an earlier step returned. It returns that, with what this step adds.

    :param handoff: the output of the earlier step.
    """

    template_fields: Sequence[str] = ("given",)
    carries = True
    model: ClassVar[type[Handoff]]

    def __init__(self, *, handoff: XComArg, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.given: Any = handoff

    @property
    def handoff(self) -> T:
        """The hand-off of the earlier step. Raises HandoffError for one of another version of this project."""
        return cast("T", self.model.read(self.given))

    def add(self, **fields: Any) -> None:
        """Add fields to the hand-off, for the rest of this step and for those after it."""
        self.given = self.handoff.adding(**fields)

    @property
    def source(self) -> str:  # type: ignore[override]
        """The source of the hand-off; empty when no step before has left anything: the grid asks even then."""
        return str(self.given.get("source", "")) if isinstance(self.given, dict) else ""


def run_of(context: Context) -> str:
    """Return `dag_id|run_id`: who did it, in marks on servers."""
    return f"{context['ti'].dag_id}|{context['run_id']}"


def is_true(value: bool | str) -> bool:
    """Return a boolean, or what Jinja makes of one: `{{ params.hold }}` is rendered as text, "True" or "False".

    Not `render_template_as_native_obj`: it would also turn a reason of `007` or `[x]` into something else than text.
    Raises ValueError for anything else, so that a mistyped template never passes for "no".
    """
    words = {"True": True, "False": False}
    if str(value) not in words:
        raise ValueError(f"Expected True or False, got {value!r}. What to do: correct the template or the parameter.")
    return words[str(value)]


def texts(value: Sequence[str] | str | None) -> tuple[str, ...]:
    """Return the texts of a list, or of what Jinja makes of one: `{{ params.only | tojson }}`; null is none.

    Raises ValueError for anything else.
    """
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, (list, tuple, type(None))):
        raise ValueError(f"Expected a list of texts, got {value!r}. What to do: correct the template or the parameter.")
    return tuple(found or ())


def text(value: str | None) -> str:
    """Return a text, or nothing: a param that is null is rendered as `None`."""
    return "" if value in (None, "None") else str(value)
