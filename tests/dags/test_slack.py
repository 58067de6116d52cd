"""Messages through the real Slack provider to the receiver that plays Slack. No Slack ever fails what it is about."""

import json
import logging
from collections.abc import Iterator

import pytest

from backup_playbook.notifiers import slack
from embedded.slack import SlackReceiver
from embedded.slack_server import render


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlackReceiver]:
    receiver = SlackReceiver(tmp_path_factory.mktemp("slack"))
    try:
        yield receiver.start()
    finally:
        receiver.stop()


@pytest.fixture
def connected(receiver: SlackReceiver, monkeypatch: pytest.MonkeyPatch) -> SlackReceiver:
    connection = {"conn_type": "slackwebhook", "password": receiver.webhook_url}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_ALERTS", json.dumps(connection))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return receiver


def send(caplog: pytest.LogCaptureFixture) -> bool:
    with caplog.at_level(logging.WARNING):
        return slack.send("high", "shop is not safely backed up", ["*shop*: what happened"], "http://airflow/run")


def test_message_arrives(connected: SlackReceiver, caplog: pytest.LogCaptureFixture) -> None:
    assert send(caplog)
    assert render(connected.messages()[-1]).splitlines() == [
        "*:red_circle: shop is not safely backed up*",
        "*shop*: what happened",
        "  <http://airflow/run|Open the run in Airflow>",
    ]


def test_text_of_an_error_calls_nobody(connected: SlackReceiver) -> None:
    assert slack.send("critical", "a <!here> & b", ["<!channel>"])
    title, line = render(connected.messages()[-1]).splitlines()
    assert title == "*<!channel> :rotating_light: a &lt;!here&gt; &amp; b*", (
        "the mention of the route comes from alerts.yaml"
    )
    assert line == "&lt;!channel&gt;"


def test_long_messages_keep_every_line(connected: SlackReceiver) -> None:
    lines = [f"line {number} {'x' * 200}" for number in range(100)]
    assert slack.send("info", "long", lines)
    message = connected.messages()[-1]
    assert render(message).splitlines()[1:] == lines
    assert max(len(block["text"]["text"]) for block in message["blocks"]) <= 3000
    assert len(message["blocks"]) <= 50


def test_refused_message_is_in_the_log(connected: SlackReceiver, caplog: pytest.LogCaptureFixture) -> None:
    with connected.failing(500):
        assert not send(caplog)
    assert "Slack did not take this message" in caplog.text
    assert "*shop*: what happened" in caplog.text


def test_slack_that_is_down(
    receiver: SlackReceiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = "http://127.0.0.1:9/services/T0/B0/the-token-of-the-webhook"
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_ALERTS", json.dumps({"conn_type": "slackwebhook", "password": nobody}))
    assert not send(caplog)
    assert "what happened" in caplog.text
    assert "the-token-of-the-webhook" not in caplog.text


def test_missing_connection(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SLACK_ALERTS", raising=False)
    assert not send(caplog)
    assert "slack_alerts" in caplog.text
    assert "what happened" in caplog.text
