"""Messages to people, and their look in Slack: one shape for all of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Severity = Literal["critical", "high", "medium", "info"]
_SYMBOLS: dict[Severity, str] = {"critical": ":rotating_light:", "high": ":red_circle:", "medium": ":warning:"}
_ALL_WELL = ":white_check_mark:"
# Slack takes 3,000 characters in a section and 50 blocks in a message.
_SECTION_CHARACTERS = 2900
_SECTIONS = 45


class Message(BaseModel):
    """Plain text: whatever Slack would read as a mention or a link is escaped; `*bold*` and `code` are left.

    Its JSON is what waits in the outbox.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity
    headline: str
    """What happened, to what."""
    lines: tuple[str, ...] = ()
    """For each source, what happened to it and what it means."""
    remedy: str = ""
    """What to do next; starts with a verb."""
    link: str = ""
    """To the run, or to the log of the task."""
    over: bool = False
    """What was told before has ended: said where that was said, without calling anybody."""

    @property
    def title(self) -> str:
        """The headline behind the symbol of its severity."""
        return f"{_ALL_WELL if self.over else _SYMBOLS.get(self.severity, _ALL_WELL)} {self.headline}"

    @property
    def paragraphs(self) -> Sequence[str]:
        """Its lines, and what to do."""
        return [*self.lines, *([f"*What to do:* {self.remedy}"] if self.remedy else [])]

    def text(self) -> str:
        """Return it for the log, and for the notification on a phone."""
        return "\n".join([self.title, *self.paragraphs, *([self.link] if self.link else [])])

    def payload(self, mention: str = "", since: datetime | None = None) -> dict[str, Any]:
        """Return what the webhook takes. mention: put before the title. since: when it could not be delivered."""
        title = f"*{_escape(self.title)}*"
        if mention and not self.over:
            title = f"{mention} {title}"
        if since:
            title += f" (delayed since {since:%Y-%m-%d %H:%M} UTC)"
        blocks = [_section(title), *map(_section, _joined(map(_escape, self.paragraphs)))]
        if len(blocks) > _SECTIONS:
            blocks = [*blocks[:_SECTIONS], _section("... The rest is in the log.")]
        if self.link:
            label = f"<{_escape(self.link)}|Open it in Airflow>"
            blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": label}]})
        return {"text": _cut(_escape(self.text())), "blocks": blocks}


def _joined(lines: Iterator[str]) -> Iterator[str]:
    """Join lines to as few sections as fit."""
    section = ""
    for line in lines:
        if section and len(section) + len(line) >= _SECTION_CHARACTERS:
            yield section
            section = ""
        section = f"{section}\n{line}" if section else line
    if section:
        yield section


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text)}}


def _cut(text: str) -> str:
    """Cut a text to what a section takes, never within an escaped character."""
    return text if len(text) <= _SECTION_CHARACTERS else re.sub("&[a-z]*$", "", text[:_SECTION_CHARACTERS]) + " ..."


def _escape(text: str) -> str:
    """Escape what an error says: `<!channel>` in it must not call anybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
