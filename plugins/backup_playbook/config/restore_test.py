"""Settings of restore tests: the place of the copy, and the checks of the application."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from backup_playbook.config.recovery import Program
from backup_playbook.config.strict import Strict
from backup_playbook.config.values import ConnectionId, Duration, Name, NonEmpty


class SqlCheck(Strict):
    """A question to the restored database, and the right answer."""

    check: Literal["sql"]
    name: NonEmpty = Field(description="What is checked, for reports and messages.")
    query: NonEmpty = Field(description="One statement. It runs in a read-only transaction.")
    expect: int | bool | str = Field(description="The first column of the first row.")


class CommandCheck(Strict):
    """A program that exits with 0 when the restored database is fit for use."""

    check: Literal["command"]
    name: NonEmpty = Field(description="What is checked, for reports and messages.")
    command: Program = Field(
        description=(
            "Program and arguments, without a shell. It starts in the folder of dags/ and include/; DATABASE_URL leads "
            "to the restored database, which goes live afterwards in a recovery: roll back what it writes."
        ),
    )
    timeout: Duration = Field(default=timedelta(minutes=10), description="It is ended, and has failed, after this.")


class HttpCheck(Strict):
    """A page of an application that works on the restored database."""

    check: Literal["http"]
    name: NonEmpty = Field(description="What is checked, for reports and messages.")
    connection: ConnectionId = Field(description="Airflow connection (type HTTP): address, credentials, headers.")
    path: str = Field(
        default="/",
        description="Below the connection's address; `{database}` becomes the name of the restored database.",
    )
    status: int = Field(default=200, ge=100, le=599, description="The HTTP status that is right.")
    contains: str = Field(default="", description="Text that the answer must contain.")


ApplicationCheck = Annotated[SqlCheck | CommandCheck | HttpCheck, Field(discriminator="check")]


class RestoreTest(Strict):
    """The monthly test: the place of the restored copy, and the checks it must pass besides being equal."""

    target: Name = Field(description="Where its scratch databases are made: a name in targets.yaml.")
    checks: Annotated[tuple[ApplicationCheck, ...], Field(strict=False)] = Field(
        default=(),
        description="What the application itself would check, in this order.",
    )
