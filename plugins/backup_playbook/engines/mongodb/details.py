"""Details in the manifests of MongoDB databases."""

from __future__ import annotations

from pydantic import Field

from backup_playbook.core.details import MomentDetails

SNAPSHOT, PER_COLLECTION = "snapshot", "per collection"


class MongoDetails(MomentDetails):
    """Facts about the server and the database.

    consistency: SNAPSHOT or PER_COLLECTION; unsnapshotted: collections that were read at a moment of their own
    although the others were not. cluster_time: of the snapshot, seconds and ordinal. views: names. left_out:
    collections that are in no backup. search_indexes: names by collection; None when they could not be listed.
    collections: UUIDs by name.
    """

    server_version: str
    deployment: str
    consistency: str
    cluster_time: tuple[int, int] | None = None
    database: str
    views: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    search_indexes: dict[str, list[str]] | None = Field(default_factory=dict)
    collections: dict[str, str]
