"""Messages to people, through the Slack provider. A Slack that is down never fails what the message is about.

What Slack does not take now waits in the outbox of the first repository that takes it, and goes out before the next
message does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from backup_playbook.config import AlertRoutes, PlaybookConfig, Route, load_config
from backup_playbook.core.errors import PlaybookError
from backup_playbook.notifiers.message import Message

if TYPE_CHECKING:
    from backup_playbook.repository.outbox import Outbox, Waiting

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10
_WRONG_WEBHOOK = "Create a new incoming webhook in Slack, and put its URL into the password of this connection."
_REMEDIES = {
    400: "Read the message above, in this log: Slack takes it from nobody. Report it as a bug of this project.",
    403: _WRONG_WEBHOOK,
    404: _WRONG_WEBHOOK,
    410: "The channel is archived: bring it back, or put the webhook of another one into this connection.",
}
_LATER = "Wait if this is Slack's own trouble; else see whether this worker may reach Slack."


class SlackError(PlaybookError):
    """Slack did not take a message. `useless`: nor will it later, for the message itself is at fault."""

    def __init__(self, what: str, remedy: str, *, useless: bool = False) -> None:
        super().__init__(what, remedy)
        self.useless = useless


def deliver(message: Message) -> bool:
    """Tell people, after what waits since earlier. Whatever fails is logged with the whole message, never raised.

    True when they hear of it, now or later; False when the severity has no route, or when not even the outbox took it.
    """
    config = load_config()
    if not getattr(config.alerts, message.severity):
        return False
    slack = _Slack(config.alerts)
    outboxes = [outbox for outbox in _open_outboxes(config) if _deliver_waiting(slack, outbox)]
    try:
        slack.post(message)
    except SlackError as error:
        return _keep(outboxes, message, error)
    return True


class _Slack:
    """The webhooks behind the routes. One that has failed is not tried again: each try may take TIMEOUT_SECONDS."""

    def __init__(self, routes: AlertRoutes) -> None:
        self._routes = routes
        self._broken: dict[str, SlackError] = {}

    def post(self, message: Message, since: datetime | None = None) -> None:
        """Post a message, when its severity has a route. Raises SlackError."""
        route: Route | None = getattr(self._routes, message.severity)
        if not route:
            return
        if route.connection in self._broken:
            raise self._broken[route.connection]
        try:
            _post(route, message.payload(route.mention or "", since))
        except SlackError as error:
            if not error.useless:
                self._broken[route.connection] = error
            raise


def _post(route: Route, payload: dict[str, Any]) -> None:
    connection = f"the Airflow connection {route.connection!r}"
    try:
        from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

        hook = SlackWebhookHook(slack_webhook_conn_id=route.connection, timeout=TIMEOUT_SECONDS)
        answer = hook.client.send_dict(payload)  # hook.send() would hide the status in the text of an error
    except Exception as error:  # whatever the connection, the provider or the network raise
        raise SlackError(
            f"Slack cannot be reached through {connection}, which alerts.yaml names: {error}.",
            f"Create the connection if it is missing (type Slack Incoming Webhook). {_LATER}",
        ) from error
    if answer.status_code != 200:
        raise SlackError(
            f"Slack answered {answer.status_code} {answer.body[:200]} to the webhook of {connection}.",
            _REMEDIES.get(answer.status_code, _LATER),
            useless=answer.status_code == 400,
        )


def _deliver_waiting(slack: _Slack, outbox: Outbox) -> bool:
    """Deliver what waits; return False when its repository does not answer as it should."""
    try:
        for item in outbox.waiting(datetime.now(UTC)):
            message = _read(item)
            try:
                if message:
                    slack.post(message, item.since)
            except SlackError as error:
                if not error.useless:
                    continue  # it goes on waiting
                log.error("Nobody has been told:\n%s\n%s", message.text() if message else "", error)
            outbox.remove(item)
    except PlaybookError as error:
        log.warning("What waits in %s was not delivered: %s", outbox.url, error)
        return False
    return True


def _keep(outboxes: Sequence[Outbox], message: Message, error: SlackError) -> bool:
    """Put a message into an outbox. The log gets all of it, at ERROR when that is the only place."""
    for outbox in () if error.useless else outboxes:
        try:
            outbox.put(message.model_dump_json().encode(), datetime.now(UTC))
        except PlaybookError as second:
            log.warning("%s", second)
        else:
            text = "Slack did not take this message; it waits in %s and goes out before the next one:\n%s\n%s"
            log.warning(text, outbox.url, message.text(), error)
            return True
    log.error("Slack did not take this message, and nobody has been told:\n%s\n%s", message.text(), error)
    return False


def _read(item: Waiting) -> Message | None:
    try:
        return Message.model_validate_json(item.body)
    except ValidationError as error:
        log.error("Dropped %s, which is no message: %s\n%r", item.key, error, item.body[:1000])
        return None


def _open_outboxes(config: PlaybookConfig) -> list[Outbox]:
    """Open those of the repositories that have a working connection."""
    found = []
    for name in config.repositories:
        try:
            from backup_playbook.connections.s3 import catalog
            from backup_playbook.repository.client import HURRIED
            from backup_playbook.repository.outbox import Outbox

            found.append(Outbox(catalog(config, name, HURRIED).store))
        except Exception as error:  # noqa: BLE001 - a message goes out whatever is wrong with boto3 or a connection
            log.warning("%s keeps no messages that Slack does not take: %s", name, error)
    return found
