"""The steps of the daily verification, for one source each.

Everything that needs boto3, psycopg or a provider is imported when a task runs: DAG files are parsed all the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from airflow.sdk import Context, XComArg

from backup_playbook.config import FilesSource, GpgRecipients, PlaybookConfig
from backup_playbook.core.facts import Dags, Expected, Unreadable
from backup_playbook.core.health import assess
from backup_playbook.core.model import EncryptionRecord
from backup_playbook.core.schedule import last_due
from backup_playbook.dag_parts.defaults import NIGHTLY
from backup_playbook.operators.base import SourceOperator


class Assessment(TypedDict):
    """What is told of a source. `findings`: core.health.Finding as dictionaries. `accepted`: as asked."""

    source: str
    in_short: str
    findings: list[dict[str, Any]]
    accepted: NotRequired[bool]


class ScrubBackups(SourceOperator):
    """Read a share of the older backups again, in every repository; in a run that a person started, also whatever is
    rejected, however short ago. Returns an engines.scrub.Scrubbed as dictionary.

    What is not right is rejected in its repository, where `assess` finds it: this task is green nevertheless.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from backup_playbook.core.progress import human_bytes, human_seconds
        from backup_playbook.dag_parts import connections
        from backup_playbook.engines.scrub import Scrub

        settings = self.config.source(self.source)
        with connections.codec(self.config, self.source, self.cancellation, decrypt=True) as codec:
            scrub = Scrub(connections.engine(self.config, self.source), codec, settings.streams, self.cancellation)
            done = scrub.run(
                self.source,
                (settings.repository, *settings.offsite),
                lambda name: connections.catalog(self.config, name),
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

    scrubbed: what `scrub` returned; None when it did not come to its end. accept: id of a backup that a person finds
    good although a restored copy was not equal, or empty; reason: why. That becomes evidence beside the backup.
    """

    template_fields: Sequence[str] = ("source", "scrubbed", "accept", "reason")

    def __init__(self, *, source: str, scrubbed: XComArg, accept: str = "", reason: str = "", **arguments: Any) -> None:
        super().__init__(source=source, **arguments)
        self.scrubbed = scrubbed
        self.accept = accept
        self.reason = reason

    def execute(self, context: Context) -> Assessment:
        from backup_playbook.core.evidence import Accepted
        from backup_playbook.dag_parts import connections
        from backup_playbook.dag_parts.repositories import Repositories
        from backup_playbook.engines.health import accept_unequal, gather_facts

        settings = self.config.source(self.source)
        repositories = (settings.repository, *settings.offsite)
        accepted = False
        if self.accept:
            run = context["dag_run"]
            answer = Accepted(reason=self.reason, by=run.triggering_user_name, run_id=run.run_id)
            known = Repositories(self.config).all(
                repositories, lambda catalog: accept_unequal([catalog], self.source, self.accept, answer)
            )
            accepted = any(known.values())
        scrubbed: dict[str, Any] | None = self.scrubbed
        now = datetime.now(UTC)
        facts = gather_facts(
            self.source,
            expected(self.config, self.source, now),
            repositories,
            lambda name: connections.catalog(self.config, name),
            now,
            None if scrubbed is None else [Unreadable(**trouble) for trouble in scrubbed["unreadable"]],
        )
        findings, in_short = assess(facts, now), facts.in_short(now)
        for finding in findings:
            self.log.warning("%s: %s %s What to do: %s", finding.severity, finding.what, finding.means, finding.remedy)
        self.log.info("%s: %d findings. %s", self.source, len(findings), in_short)
        told = [asdict(finding) for finding in findings]
        return Assessment(source=self.source, in_short=in_short, findings=told, accepted=accepted)


_OF_DATABASES = Dags(
    back_up="nightly_database_backup",
    prove="monthly_restore_test",
    repair="repair_backup",
    verify="daily_backup_verification",
)
_OF_FILES = replace(_OF_DATABASES, back_up="nightly_file_backup", prove="restore_files")


def expected(config: PlaybookConfig, source: str, now: datetime) -> Expected:
    """Promises of the configuration for a source."""
    settings, objectives = config.source(source), config.objectives_of(source)
    encryption = config.encryption_of(source)
    recipients = encryption.recipients if isinstance(encryption, GpgRecipients) else ()
    of_files = isinstance(settings, FilesSource)
    return Expected(
        due=last_due(config.airflow.file_backups if of_files else NIGHTLY, objectives.backed_up_within, now),
        rpo=objectives.rpo,
        proven_within=objectives.proven_within if settings.restore_test else None,
        reread_within=objectives.reread_within,
        minimum_size=settings.minimum_size,
        encryption=EncryptionRecord(method=encryption.method if encryption else "none", recipients=recipients),
        dags=_OF_FILES if of_files else _OF_DATABASES,
    )
