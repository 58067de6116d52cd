"""The steps of the daily verification, for one source each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Context, XComArg

from backup_playbook.config import PlaybookConfig
from backup_playbook.core.facts import Expected, Unreadable
from backup_playbook.core.health import assess
from backup_playbook.core.model import EncryptionRecord
from backup_playbook.core.schedule import last_due
from backup_playbook.forms.dag_names import dags_of
from backup_playbook.forms.schedules import backup_schedule
from backup_playbook.operators.base import SourceOperator
from backup_playbook.operators.handoffs import Assessment


class ScrubBackups(SourceOperator):
    """Read a share of the older backups again, in every repository.

    A run that a person started also reads whatever is rejected, however short ago. Returns an engines.scrub.Scrubbed as
    dictionary. What is not right is rejected in its repository, where `AssessSource` finds it: this task is green
    nevertheless.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Read them."""
        from backup_playbook.core.progress import human_bytes, human_seconds
        from backup_playbook.engines.scrub import Scrub

        access = self.access
        with access.codec(self.cancellation, decrypt=True) as codec:
            done = Scrub(access.engine, codec, access.settings.streams, self.cancellation).run(
                self.source,
                access.repositories,
                access.catalog,
                self.config.objectives_of(self.source).reread_within,
                datetime.now(UTC),
                asked=context["dag_run"].run_type == "manual",
            )
        self.log.info(
            "Read %d backups again (%s) in %s: %d rejected.",
            done.read, human_bytes(done.bytes), human_seconds(done.seconds), done.rejected,
        )  # fmt: skip
        return asdict(done)


class AssessSource(SourceOperator):
    """Compare what the repositories hold with what the configuration promises. Returns an `Assessment`.

    :param scrubbed: what `ScrubBackups` returned; None when it did not come to its end.
    :param accept: id of a backup that a person finds good although a restored copy was not equal, or empty. That
        becomes evidence beside the backup.
    :param reason: why it is good.
    """

    template_fields: Sequence[str] = ("source", "scrubbed", "accept", "reason")

    def __init__(self, *, scrubbed: XComArg, accept: str = "", reason: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.scrubbed: Any = scrubbed
        self.accept = accept
        self.reason = reason

    def execute(self, context: Context) -> dict[str, Any]:
        """Assess the source."""
        from backup_playbook.connections.repositories import Repositories
        from backup_playbook.core.evidence import Accepted
        from backup_playbook.engines.health import accept_unequal, gather_facts

        access, now, accepted = self.access, datetime.now(UTC), False
        if self.accept:
            run = context["dag_run"]
            answer = Accepted(reason=self.reason, by=run.triggering_user_name, run_id=run.run_id)
            known = Repositories(self.config).all(
                access.repositories, lambda catalog: accept_unequal([catalog], self.source, self.accept, answer)
            )
            accepted = any(known.values())
        facts = gather_facts(
            self.source,
            expected(self.config, self.source, now),
            access.repositories,
            access.catalog,
            now,
            None if self.scrubbed is None else [Unreadable(**trouble) for trouble in self.scrubbed["unreadable"]],
        )
        findings, in_short = assess(facts, now), facts.in_short(now)
        for finding in findings:
            self.log.warning("%s: %s %s What to do: %s", finding.severity, finding.what, finding.means, finding.remedy)
        self.log.info("%s: %d findings. %s", self.source, len(findings), in_short)
        told = tuple(asdict(finding) for finding in findings)
        return Assessment(source=self.source, in_short=in_short, findings=told, accepted=accepted).as_json()


def expected(config: PlaybookConfig, source: str, now: datetime) -> Expected:
    """Return the promises of the configuration for a source."""
    settings, objectives = config.source(source), config.objectives_of(source)
    encryption = config.encryption_of(source)
    return Expected(
        due=last_due(backup_schedule(config, source), objectives.backed_up_within, now),
        rpo=objectives.rpo,
        proven_within=objectives.proven_within if settings.restore_test else None,
        reread_within=objectives.reread_within,
        minimum_size=settings.minimum_size,
        encryption=EncryptionRecord(
            method=encryption.method if encryption else "none", recipients=getattr(encryption, "recipients", ())
        ),
        dags=dags_of(config, source),
    )
