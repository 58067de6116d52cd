"""Messages through the real Slack provider to the receiver that plays Slack. No Slack ever fails what it is about."""

import json
import re
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_playbook.config.load import DEFAULT_FOLDER
from backup_playbook.notifiers import slack
from backup_playbook.notifiers.message import Message
from backup_playbook.repository.outbox import Outbox
from backup_playbook.repository.store import ObjectStore
from embedded.s3 import S3Gateway
from embedded.slack import SlackReceiver
from embedded.slack_server import render
from tests.conftest import Bucket

Log = pytest.LogCaptureFixture
PROBLEM = Message(
    severity="high",
    headline="shop is not safely backed up",
    lines=("*shop*: what happened",),
    remedy="open the red task.",
    link="http://airflow/run",
)


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlackReceiver]:
    receiver = SlackReceiver(tmp_path_factory.mktemp("slack"))
    try:
        yield receiver.start()
    finally:
        receiver.stop()


def webhook(monkeypatch: pytest.MonkeyPatch, connection: str, url: str) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{connection.upper()}", json.dumps({"conn_type": "slackwebhook", "password": url}))


@pytest.fixture
def connected(receiver: SlackReceiver, monkeypatch: pytest.MonkeyPatch) -> SlackReceiver:
    webhook(monkeypatch, "slack_alerts", receiver.webhook_url)
    webhook(monkeypatch, "slack_critical", receiver.critical_webhook_url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return receiver


@pytest.fixture
def outbox(
    s3: S3Gateway, bucket: Bucket, connected: SlackReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Outbox:
    """That of the configured repository, in a bucket of the test's own."""
    extra = {"endpoint_url": s3.endpoint_url, "region_name": s3.region}
    connection = {"conn_type": "aws", "login": s3.access_key, "password": s3.secret_key, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_S3_PRIMARY", json.dumps(connection))
    config = shutil.copytree(DEFAULT_FOLDER, tmp_path / "config")
    repositories = config / "repositories.yaml"
    repositories.write_text(repositories.read_text().replace("bucket: playbook-backups\n", f"bucket: {bucket.name}\n"))
    monkeypatch.setenv("BACKUP_PLAYBOOK_CONFIG", str(config))
    return Outbox(ObjectStore(bucket.client, bucket=bucket.name, prefix="playbook"))


def problem(number: int, **more: Any) -> Message:
    return PROBLEM.model_copy(update={"headline": f"problem {number}", **more})


def waiting(outbox: Outbox) -> list[str]:
    return [Message.model_validate_json(item.body).headline for item in outbox.waiting(datetime.now(UTC))]


def told(receiver: SlackReceiver, since: int) -> list[tuple[str, str]]:
    """Channel and title of what came after the first `since` messages."""
    return [(channel, render(message).splitlines()[0]) for channel, message in receiver.received()[since:]]


class TestShape:
    def test_every_message_has_one(self, outbox: Outbox, connected: SlackReceiver) -> None:
        assert slack.deliver(PROBLEM)
        channel, message = connected.received()[-1]
        assert (channel, render(message).splitlines()) == (
            "#alerts",
            [
                "*:red_circle: shop is not safely backed up*",
                "*shop*: what happened",
                "*What to do:* open the red task.",
                "  <http://airflow/run|Open it in Airflow>",
            ],
        )
        assert message["text"].startswith(":red_circle: shop is not safely backed up"), "what a phone shows"

    def test_text_of_an_error_calls_nobody(self, outbox: Outbox, connected: SlackReceiver) -> None:
        lines = ("<!channel>", "<http://evil|Open it in Airflow>")
        assert slack.deliver(Message(severity="high", headline="a <!here> & b", lines=lines))
        message = connected.messages()[-1]
        assert "<" not in json.dumps(message)
        assert render(message).splitlines()[0] == "*:red_circle: a &lt;!here&gt; &amp; b*"

    def test_critical_calls_people_in_a_channel_of_its_own(self, outbox: Outbox, connected: SlackReceiver) -> None:
        before = len(connected.messages())
        for over in (False, True):
            assert slack.deliver(Message(severity="critical", headline="bit rot", over=over))
        assert told(connected, before) == [
            ("#critical", "<!channel> *:rotating_light: bit rot*"),
            ("#critical", "*:white_check_mark: bit rot*"),
        ]

    def test_long_messages_keep_every_line(self, outbox: Outbox, connected: SlackReceiver) -> None:
        lines = tuple(f"line {number} {'x' * 200}" for number in range(100))
        assert slack.deliver(Message(severity="info", headline="long", lines=lines))
        assert tuple(render(connected.messages()[-1]).splitlines()[1:]) == lines

    @pytest.mark.parametrize("lines", [["y" * 9000], ["z" * 2899] * 200, [f"a{'<' * 2000}"]])
    def test_limits_of_slack(self, lines: list[str]) -> None:
        payload = Message(severity="info", headline="x" * 5000, lines=tuple(lines), link="http://airflow").payload()
        assert max(len(block["text"]["text"]) for block in payload["blocks"] if "text" in block) <= 3000
        assert len(payload["blocks"]) <= 50
        assert payload["blocks"][-1]["type"] == "context"
        assert not re.search(r"&(?!lt;|gt;|amp;)", json.dumps(payload)), "an escaped character was cut in two"


class TestSlackThatDoesNotTakeIt:
    @pytest.fixture
    def nobody(self) -> Iterator[socket.socket]:
        """A server that never answers."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield listener

    def test_down(self, outbox: Outbox, connected: SlackReceiver, monkeypatch: pytest.MonkeyPatch, caplog: Log) -> None:
        webhook(monkeypatch, "slack_alerts", "http://127.0.0.1:9/services/T0/B0/the-token-of-the-webhook")
        assert slack.deliver(PROBLEM)
        assert "*shop*: what happened" in caplog.text
        assert "the-token-of-the-webhook" not in caplog.text
        assert waiting(outbox) == [PROBLEM.headline]

    def test_slow(self, outbox: Outbox, nobody: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: Log) -> None:
        """However many messages wait: one try, and one wait for it."""
        monkeypatch.setattr(slack, "TIMEOUT_SECONDS", 1)
        port = nobody.getsockname()[1]
        webhook(monkeypatch, "slack_alerts", f"http://127.0.0.1:{port}/services/T0/B0/the-token-of-the-webhook")
        assert slack.deliver(problem(1))
        assert slack.deliver(problem(2))
        nobody.settimeout(0)
        for _ in range(2):
            nobody.accept()[0].close()
        with pytest.raises(BlockingIOError):
            nobody.accept()
        assert "timed out" in caplog.text
        assert waiting(outbox) == ["problem 1", "problem 2"]

    @pytest.mark.parametrize(
        ("status", "remedy"),
        [
            (500, "see whether this worker may reach Slack"),
            (404, "Create a new incoming webhook"),
            (410, "The channel is archived"),
        ],
    )
    def test_refusal_says_what_to_do(
        self, outbox: Outbox, connected: SlackReceiver, caplog: Log, status: int, remedy: str
    ) -> None:
        with connected.failing(status):
            assert slack.deliver(PROBLEM)
        assert (
            f"Slack answered {status} told_to_fail to the webhook of the Airflow connection 'slack_alerts'"
            in caplog.text
        )
        assert remedy in caplog.text
        assert waiting(outbox) == [PROBLEM.headline]

    def test_message_that_slack_will_never_take_is_not_kept(
        self, outbox: Outbox, connected: SlackReceiver, caplog: Log
    ) -> None:
        outbox.put(problem(1).model_dump_json().encode(), datetime.now(UTC))
        with connected.failing(400):
            assert not slack.deliver(problem(2))
        assert [record.levelname for record in caplog.records if "obody has been told" in record.message] == [
            "ERROR"
        ] * 2
        assert "problem 1" in caplog.text
        assert "problem 2" in caplog.text
        assert waiting(outbox) == []

    def test_missing_connection(self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: Log) -> None:
        monkeypatch.delenv("AIRFLOW_CONN_SLACK_ALERTS")
        assert slack.deliver(PROBLEM)
        assert "'slack_alerts'" in caplog.text
        assert "Create the connection" in caplog.text
        assert waiting(outbox) == [PROBLEM.headline]

    @pytest.mark.parametrize("port", [None, 9])
    def test_repository_is_down_too(
        self, outbox: Outbox, connected: SlackReceiver, monkeypatch: pytest.MonkeyPatch, caplog: Log, port: int | None
    ) -> None:
        """port: of the repository's server, None for a missing connection."""
        monkeypatch.delenv("AIRFLOW_CONN_S3_PRIMARY")
        if port:
            connection = {"conn_type": "aws", "login": "x", "password": "x"}
            connection["extra"] = json.dumps({"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"})
            monkeypatch.setenv("AIRFLOW_CONN_S3_PRIMARY", json.dumps(connection))
        with connected.failing(500):
            assert not slack.deliver(PROBLEM)
        [record] = [record for record in caplog.records if record.levelname == "ERROR"]
        assert PROBLEM.text() in record.getMessage()
        assert slack.deliver(PROBLEM), "Slack alone is enough"


class TestLaterDelivery:
    def test_oldest_first_then_the_new_one(self, outbox: Outbox, connected: SlackReceiver) -> None:
        before = len(connected.messages())
        for number, hours in ((2, 1), (1, 2)):
            outbox.put(problem(number).model_dump_json().encode(), datetime.now(UTC) - timedelta(hours=hours))
        with connected.failing(503):
            slack.deliver(problem(3))
        assert slack.deliver(problem(4))
        _, titles = zip(*told(connected, before), strict=True)
        assert [re.sub(r"since \S+ \S+", "since ...", title) for title in titles] == [
            *(f"*:red_circle: problem {number}* (delayed since ... UTC)" for number in (1, 2, 3)),
            "*:red_circle: problem 4*",
        ]
        assert waiting(outbox) == []

    def test_says_since_when(self) -> None:
        payload = PROBLEM.payload(since=datetime(2026, 11, 23, 2, 10, 59, tzinfo=UTC))
        assert "(delayed since 2026-11-23 02:10 UTC)" in payload["blocks"][0]["text"]["text"]

    def test_broken_channel_holds_up_no_other(
        self, outbox: Outbox, connected: SlackReceiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = len(connected.messages())
        webhook(monkeypatch, "slack_critical", f"{connected.url}/services/T0/B0/revoked")
        assert slack.deliver(problem(1, severity="critical"))
        assert slack.deliver(problem(2))
        assert told(connected, before) == [("#alerts", "*:red_circle: problem 2*")]
        assert waiting(outbox) == ["problem 1"]

    def test_what_is_no_message_is_dropped_with_a_word(
        self, outbox: Outbox, connected: SlackReceiver, caplog: Log
    ) -> None:
        outbox.put(b"{}", datetime.now(UTC))
        assert slack.deliver(PROBLEM)
        assert "which is no message" in caplog.text
        assert waiting(outbox) == []
