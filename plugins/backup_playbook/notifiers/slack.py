"""Messages to people, through the Slack provider. A Slack that is down never fails what the message is about."""

from __future__ import annotations

import logging
from typing import Any, Literal

from backup_playbook.config import load_config

log = logging.getLogger(__name__)

Severity = Literal["critical", "high", "medium", "info"]
_SYMBOLS: dict[Severity, str] = {"critical": ":rotating_light:", "high": ":red_circle:", "medium": ":warning:"}
_SECTION_CHARACTERS = 2900


def send(severity: Severity, headline: str, lines: list[str], link: str = "") -> bool:
    """Send to the route of `severity`; False when it has none, or when Slack does not take the message."""
    route = getattr(load_config().alerts, severity)
    if route is None:
        return False
    title = f"{_SYMBOLS.get(severity, ':white_check_mark:')} {headline}"
    text = "\n".join([title, *lines, *([link] if link else [])])
    try:
        from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

        mention = f"{route.mention} " if route.mention else ""
        SlackWebhookHook(slack_webhook_conn_id=route.connection, timeout=10).send(
            text=text, blocks=_blocks(mention + title, lines, link)
        )
    except Exception as error:  # whatever Slack, its client or the connection raise: the message is in this log
        log.warning("Slack did not take this message (%s):\n%s", error, text)
        return False
    return True


def _blocks(title: str, lines: list[str], link: str) -> list[dict[str, Any]]:
    blocks = [_section(f"*{title}*")]
    if lines:
        blocks.append(_section("\n".join(lines)))
    if link:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": f"<{link}|Open the run in Airflow>"}]})
    return blocks


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_SECTION_CHARACTERS]}}
