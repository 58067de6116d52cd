"""A wrong token is answered with 401, as a missing one and an expired one are.

Airflow 3.3 answers it with 403, which clients and people take for a lack of permission: they look for a role to grant
when they have to log in. RFC 6750, section 3.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Callable[[], Awaitable[Message]], Send], Awaitable[None]]

AIRFLOWS_WORDS = b"Invalid JWT token"


class WrongTokenIs401:
    """ASGI middleware that answers a wrong token with 401. All other answers pass unchanged."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[Message]], send: Send
    ) -> None:
        """Pass on the application's answer, corrected when a wrong token was forbidden."""
        forbidden: list[Message] = []

        async def send_corrected(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 403:
                forbidden.append(message)  # what was forbidden is in the body, which comes next
                return
            if forbidden:
                start = forbidden.pop()
                if AIRFLOWS_WORDS in message.get("body", b""):
                    challenge = (b"www-authenticate", b'Bearer error="invalid_token"')
                    start = {**start, "status": 401, "headers": [*start["headers"], challenge]}
                await send(start)
            await send(message)

        await self.app(scope, receive, send_corrected)
