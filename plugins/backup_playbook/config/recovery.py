"""Settings of recoveries: over which connection, with which maintenance mode, and who is asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from backup_playbook.config.strict import Strict
from backup_playbook.config.values import ConnectionId, Duration

Program = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
"""Program and arguments, without a shell."""


class HttpCall(Strict):
    """A request to the application, and the answer that is right."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str = Field(description="Below the connection's address.")
    status: int = Field(default=200, ge=100, le=599, description="The HTTP status that is right.")
    contains: str = Field(default="", description="Text that the answer must contain.")


class HttpMaintenance(Strict):
    """An application with requests that switch its maintenance mode on and off, and show that it is."""

    by: Literal["http"]
    connection: ConnectionId = Field(description="Airflow connection (type HTTP): address, credentials, headers.")
    switch_on: HttpCall
    switch_off: HttpCall
    is_on: HttpCall = Field(description="Asked after `switch_on`: has it taken effect?")
    is_off: HttpCall = Field(description="Asked after `switch_off`, such as the application's health page.")


class CommandMaintenance(Strict):
    """Programs that switch the maintenance mode on and off, and exit with 0 when it has taken effect."""

    by: Literal["command"]
    switch_on: Program = Field(description="Program and arguments, without a shell.")
    switch_off: Program = Field(description="Program and arguments, without a shell.")
    timeout: Duration = Field(default=timedelta(minutes=2), description="It is ended, and has failed, after this.")


Maintenance = Annotated[HttpMaintenance | CommandMaintenance, Field(discriminator="by")]


class Recovery(Strict):
    """Writing to production itself; an engine adds what it needs for that."""

    maintenance: Maintenance | None = Field(
        default=None,
        description="null: the application has none. It then meets errors while its database is exchanged.",
    )


class RecoverySettings(Strict):
    """Approval before production is touched."""

    approval_timeout: Duration = Field(
        default=timedelta(hours=4), description="A recovery that nobody has approved after this fails."
    )
    unattended_drills: bool = Field(
        default=False,
        description="true, for test systems: a run with the param `drill` asks nobody.",
    )
