"""Messages to people, through the Slack provider. A Slack that is down never fails what the message is about."""

from __future__ import annotations

import logging
from collections.abc import Iterator
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
            text=_escape(text), blocks=_blocks(mention + _escape(title), [_escape(line) for line in lines], link)
        )
    except Exception as error:  # noqa: BLE001 - whatever Slack, its client or the connection raise: the log has the message
        log.warning("Slack did not take this message (%s):\n%s", error, text)
        return False
    return True


def _blocks(title: str, lines: list[str], link: str) -> list[dict[str, Any]]:
    blocks = [_section(f"*{title}*"), *map(_section, _paragraphs(lines))]
    if link:
        blocks.append(
            {"type": "context", "elements": [{"type": "mrkdwn", "text": f"<{link}|Open the run in Airflow>"}]}
        )
    return blocks


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """The lines in as few sections as Slack's limit of 3,000 characters allows."""
    paragraph = ""
    for line in lines:
        if paragraph and len(paragraph) + len(line) >= _SECTION_CHARACTERS:
            yield paragraph
            paragraph = ""
        paragraph = f"{paragraph}\n{line}" if paragraph else line
    if paragraph:
        yield paragraph


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_SECTION_CHARACTERS]}}


def _escape(text: str) -> str:
    """What an error says is text: `<!channel>` in it must not call anybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
