"""What becomes of Airflow's answers on their way out."""

import asyncio
from typing import Any

import pytest

from backup_playbook.web.tokens import AIRFLOWS_WORDS, Message, WrongTokenIs401


def answered(status: int, *bodies: bytes) -> list[Message]:
    """What a client gets when Airflow answers so."""
    sent: list[Message] = []

    async def airflow(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"a", b"b")]})
        for number, body in enumerate(bodies, 1):
            await send({"type": "http.response.body", "body": body, "more_body": number < len(bodies)})

    async def receive() -> Message:
        raise NotImplementedError

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(WrongTokenIs401(airflow)({"type": "http"}, receive, send))
    return sent


def test_wrong_token() -> None:
    start, body = answered(403, b'{"detail":"%s"}' % AIRFLOWS_WORDS)
    assert (start["status"], body["body"]) == (401, b'{"detail":"Invalid JWT token"}')
    assert start["headers"] == [(b"a", b"b"), (b"www-authenticate", b'Bearer error="invalid_token"')]


@pytest.mark.parametrize(
    ("status", "bodies"), [(403, [b"Forbidden", b" indeed"]), (200, [AIRFLOWS_WORDS]), (403, [b""])]
)
def test_all_else_passes_unchanged(status: int, bodies: list[bytes]) -> None:
    start, *rest = answered(status, *bodies)
    assert (start["status"], start["headers"], [part["body"] for part in rest]) == (status, [(b"a", b"b")], bodies)
