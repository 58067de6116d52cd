"""Backups and restores as Airflow task graphs: streamed, sealed, proven, pruned."""

__version__ = "0.1.0"
