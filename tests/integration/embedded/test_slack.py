"""The receiver that plays Slack, against what the real Slack provider of Airflow sends."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier
from slack_sdk.webhook import WebhookClient

from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.protection import LastVerified
from embedded.slack import SlackReceiver
from embedded.slack_server import render

BLOCKS = [
    {"type": "header", "text": {"type": "plain_text", "text": "Backup failed"}},
    {
        "type": "section",
        "text": {"type": "mrkdwn", "text": "*shop*"},
        "fields": [{"type": "mrkdwn", "text": "RPO 24 h"}],
    },
    {"type": "divider"},
    {
        "type": "actions",
        "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Log"}, "url": "http://log"}],
    },
]


PICTURE = Path(__file__).parents[3] / "docs/images/slack_messages.png"
REMEDY = "open the red task, read its error, and clear the task when the cause is gone."
RUN = "http://localhost:8080/dags/nightly_database_backup/runs/scheduled__2026-11-23"
LAST = LastVerified("20261121T020004Z-7f3a91", timedelta(days=2, hours=1), timedelta(days=1))
ALERTS = [
    Message(
        severity="high",
        headline="shop is not safely backed up",
        lines=(f"*shop*: *`dump_compress_upload` failed: there is no new backup.* {LAST.sentence()}",),
        remedy=REMEDY,
        link=RUN,
    ),
    Message(
        severity="high",
        headline="nightly_database_backup is late: not done after 1 h 00 min",
        lines=("It was due to start at 2026-11-23 02:00:00 UTC and has failed.", f"*shop*: {LAST.sentence()}"),
        remedy=REMEDY,
        link=RUN,
    ),
    Message(
        severity="info",
        headline="shop is backed up and verified",
        lines=("*shop* `20261123T064012Z-0c1d2e`: 14 tables, 2,310,554 rows; 1.3 GB stored as 69 MB in 8 s.",),
        link=RUN,
    ),
]
CRITICAL = Message(
    severity="critical",
    headline="shop: a stored object is not what was written",
    lines=("*shop* `20261102T020003Z-41b7aa`: 1 of 12 objects differs from its manifest: `orders <1>.zst`.",),
    remedy="restore from the off-site copy, and find out who wrote to the bucket.",
    link=RUN,
)


@pytest.fixture
def slack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackReceiver]:
    receiver = SlackReceiver(tmp_path).start()
    connection = {"conn_type": "slackwebhook", "password": receiver.webhook_url}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_TEST", json.dumps(connection))
    yield receiver
    receiver.stop()


def test_receives_what_the_provider_sends(slack: SlackReceiver) -> None:
    SlackWebhookHook(slack_webhook_conn_id="slack_test").send(text="first")
    SlackWebhookNotifier(slack_webhook_conn_id="slack_test", text="second", blocks=BLOCKS).notify({})
    assert slack.messages() == [{"text": "first"}, {"text": "second", "blocks": BLOCKS}]
    assert "Backup failed" in slack.log.read_text()


def test_keeps_messages_over_a_kill(slack: SlackReceiver) -> None:
    WebhookClient(slack.webhook_url).send(text="kept")
    slack.kill()
    slack.start()
    assert slack.messages() == [{"text": "kept"}]


def test_fails_when_told_to(slack: SlackReceiver) -> None:
    hook = SlackWebhookHook(slack_webhook_conn_id="slack_test")
    with slack.failing(500), pytest.raises(Exception, match="500"):
        hook.send(text="lost")
    hook.send(text="delivered")
    assert slack.messages() == [{"text": "delivered"}]


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [("/services/T0/B0/guessed", {"text": "x"}, "invalid_token"), ("", {"other": "x"}, "no_text")],
)
def test_refuses_what_slack_refuses(slack: SlackReceiver, path: str, body: dict[str, str], answer: str) -> None:
    url = slack.url + path if path else slack.webhook_url
    assert WebhookClient(url).send_dict(body).body == answer
    assert slack.messages() == []


def test_shows_a_message_as_people_would_see_it() -> None:
    lines = ["Backup failed", "*shop*", "  RPO 24 h", "---", "  Log http://log"]
    assert render({"text": "fallback", "blocks": BLOCKS}).splitlines() == lines
    assert render({"text": "plain"}) == "plain"


def test_page_shows_channels_and_messages(slack: SlackReceiver, tmp_path: Path) -> None:
    """UPDATE_SCREENSHOTS=1 writes the README's picture."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("chromium is not installed")
    for message in ALERTS:
        WebhookClient(slack.webhook_url).send_dict(message.payload())
    WebhookClient(slack.critical_webhook_url).send_dict(CRITICAL.payload("<!channel>"))
    options = ["--headless=new", "--no-sandbox", "--no-proxy-server", f"--user-data-dir={tmp_path}/chromium"]
    browser = [chromium, *options, "--virtual-time-budget=2000", "--hide-scrollbars"]
    page = subprocess.run([*browser, "--dump-dom", slack.url], capture_output=True, text=True, check=True).stdout
    for expected in (
        "<h2>#alerts</h2>",
        "<h2>#critical</h2>",
        '<span class="mention">@channel</span> <b><span class="rotating_light">⚠</span> shop: a stored',
        "<code>orders &lt;1&gt;.zst</code>",
        f'<a href="{RUN}">Open it in Airflow</a>',
    ):
        assert expected in page
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        look = ["--window-size=920,700", "--force-device-scale-factor=1.3", f"--screenshot={PICTURE}"]
        subprocess.run([*browser, *look, slack.url], check=True, capture_output=True)
