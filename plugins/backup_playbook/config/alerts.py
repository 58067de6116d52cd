"""alerts.yaml, as strict models."""

from __future__ import annotations

from pydantic import Field

from backup_playbook.config.strict import Strict
from backup_playbook.config.values import ConnectionId, NonEmpty


class Route(Strict):
    """Destination of the messages of one severity."""

    connection: ConnectionId = Field(
        description="Airflow connection (type Slack Incoming Webhook). The webhook decides on the channel.",
    )
    mention: NonEmpty | None = Field(
        default=None,
        description="Put before the message, such as `<!channel>`, `<!here>` or `<@U024BE7LH>`.",
    )


class AlertRoutes(Strict):
    """One route for each severity."""

    critical: Route = Field(description="Data is at risk now.")
    high: Route = Field(description="A backup is missing or failed.")
    medium: Route = Field(description="Something looks unusual.")
    info: Route | None = Field(description="All is well; null to send nothing.")


class AlertsFile(Strict):
    """Destinations of all messages."""

    routes: AlertRoutes
