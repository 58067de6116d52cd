"""The receiver that plays Slack, against what the real Slack provider of Airflow sends."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier
from slack_sdk.webhook import WebhookClient

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
