"""The choice of the backup that will be restored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.progress import human_age
from backup_playbook.operators.approval import ASKED
from backup_playbook.operators.base import SourceOperator, is_true, text
from backup_playbook.operators.handoffs import Restoring

if TYPE_CHECKING:
    from backup_playbook.core.model import Manifest


class ChooseBackup(SourceOperator):
    """Find the backup that will be restored. Returns a `Restoring`.

    :param backup: an id, `latest` or `latest_proven`.
    :param before: ISO 8601 with an offset; `latest` then is the newest that was taken before it.
    :param repository: one of forms.fields.REPOSITORIES.
    :param allow_unverified: whether the id may be that of a backup that nobody has checked.
    """

    template_fields: Sequence[str] = ("source", "backup", "before", "repository", "allow_unverified")
    carries = True
    takes_damaged = False
    """Whether `allow_unverified` also allows a rejected backup: what is taken from it is checked one by one."""

    def __init__(
        self,
        *,
        source: str,
        backup: str = "latest",
        before: str = "",
        repository: str = "alternate",
        allow_unverified: bool | str = False,
        **arguments: Any,
    ) -> None:
        super().__init__(source=source, **arguments)
        self.backup = backup
        self.before = before
        self.repository = repository
        self.allow_unverified = allow_unverified

    def execute(self, context: Context) -> dict[str, Any]:
        """Choose the backup."""
        from backup_playbook.connections.backup_choice import find_backup
        from backup_playbook.core.recovery_points import is_sound

        started, unverified = datetime.now(UTC), is_true(self.allow_unverified)
        before = past_moment(self.before, started)
        chosen = find_backup(
            self.access.backups,
            self.order(started),
            self.backup,
            before,
            now=started,
            allow_unverified=unverified,
            allow_damaged=self.takes_damaged and unverified,
        )
        manifest = chosen.manifest
        context["ti"].xcom_push(ASKED, asked_for(before, manifest, started))
        self.log.info(
            "%s %s from %s: %s, taken %s. %s",
            self.source, manifest.backup_id, chosen.repository, self.access.engine.summary(manifest),
            manifest.snapshot_at, chosen.remark,
        )  # fmt: skip
        return Restoring(
            source=self.source,
            backup_id=manifest.backup_id,
            repository=chosen.repository,
            seal=manifest.seal,
            origin=manifest.origin_seal,
            taken_at=manifest.snapshot_at,
            remark=chosen.remark,
            unverified=not is_sound(chosen.entry, started),
            started_at=started,
        ).as_json()

    def order(self, now: datetime) -> list[list[str]]:
        """Return the repositories to read from; see Access.reading_order."""
        return self.access.reading_order(self.repository, now)


def asked_for(before: datetime | None, manifest: Manifest, now: datetime) -> str:
    """Say how a form was understood, for the first line of its plan: a form converts time zones unseen."""
    shows = f"{manifest.backup_id}, of {manifest.snapshot_at:%Y-%m-%d %H:%M:%S} UTC"
    if before is None:
        return f"No time was given. The backup: {shows}, {human_age(now - manifest.snapshot_at)} ago."
    moment = before.astimezone(UTC)
    return (
        f"The time that was given: {moment:%Y-%m-%d %H:%M:%S} UTC, {human_age(now - moment)} ago. The backup: {shows}, "
        f"{human_age(moment - manifest.snapshot_at)} before that."
    )


def past_moment(given: str, now: datetime) -> datetime | None:
    """Read a form's date-time; None when it is empty. Raises RestoreError for nonsense and for the future."""
    if not text(given):
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise RestoreError(f"{given!r} is not a date and time.", "Write it like 2026-11-23T14:30:00+00:00.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment > now:
        raise RestoreError(
            f"{moment:%Y-%m-%d %H:%M:%S %Z} is in the future.",
            "Give the time at which it happened, with its zone.",
        )
    return moment
