"""Airflow connections, found or asked for."""

from __future__ import annotations

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from backup_playbook.core.errors import ConfigError


def airflow_connection(connection_id: str, named_by: str) -> Connection:
    """Find a connection. named_by: the file and path that names it.

    Raises ConfigError with the command that creates a missing one.
    """
    try:
        return Connection.get(connection_id)
    except AirflowNotFoundException:
        raise ConfigError(
            f"Airflow has no connection {connection_id!r}, which {named_by} names.",
            f"Create it in the UI (Admin, Connections), with `airflow connections add {connection_id} ...`, or as the "
            f"environment variable AIRFLOW_CONN_{connection_id.upper()}.",
        ) from None


def password(connection_id: str, named_by: str) -> str:
    """Return the password of a connection. Raises ConfigError when it has none."""
    secret: str | None = airflow_connection(connection_id, named_by).password
    if not secret:
        raise ConfigError(
            f"The Airflow connection {connection_id!r} has no password, where {named_by} expects the key.",
            "Put the passphrase, or the private key in ASCII armour, into its password field.",
        )
    return secret
