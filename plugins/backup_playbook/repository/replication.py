"""Check that S3 replicates a bucket as the configuration says."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from backup_playbook.core.errors import RepositoryError
from backup_playbook.repository.s3errors import code_of, explained
from backup_playbook.repository.store import ObjectStore

_UNANSWERED = {
    "AccessDenied": "Grant the credentials of its Airflow connection s3:GetReplicationConfiguration.",
    "NotImplemented": "This object store knows no replication rules: remove `replication` of this source, and have the "
    "store copy the bucket in its own way.",
}


def require_replication(store: ObjectStore, replica: str) -> None:
    """Raise RepositoryError unless an enabled rule replicates the store's whole prefix to the bucket `replica`."""
    found = _configuration(store)
    rules: list[Mapping[str, Any]] = found.get("Rules", [])
    if any(_covers(rule, store.prefix, replica) for rule in rules):
        return
    wanted = {
        "ID": "backup-playbook",
        "Priority": 1 + max((rule.get("Priority", 0) for rule in rules), default=0),
        "Filter": {"Prefix": store.prefix},
        "Status": "Enabled",
        "DeleteMarkerReplication": {"Status": "Enabled"},
        "Destination": {"Bucket": f"arn:aws:s3:::{replica}"},
    }
    others = [rule for rule in rules if rule.get("ID") != wanted["ID"]]
    corrected = {"Role": found.get("Role", "<arn of a role that may replicate>"), "Rules": [*others, wanted]}
    raise RepositoryError(
        f"{store.url} is to be replicated to the bucket {replica}, and none of the {len(rules)} rules of the bucket "
        f"{store.bucket} does it: {', '.join(map(_in_words, rules)) or 'there is none'}.",
        f"Correct `replication` of this source, or run: aws s3api put-bucket-replication --bucket {store.bucket} "
        f"--replication-configuration {shlex.quote(json.dumps(corrected))}",
    )


def _configuration(store: ObjectStore) -> Mapping[str, Any]:
    action = f"ask how the bucket {store.bucket} is replicated"
    with explained(action):
        try:
            return store.client.get_bucket_replication(Bucket=store.bucket)["ReplicationConfiguration"]
        except ClientError as error:
            code = code_of(error)
            if code == "ReplicationConfigurationNotFoundError":
                return {}
            if code not in _UNANSWERED:
                raise
            raise RepositoryError(f"Cannot {action}: the object store answered {code}.", _UNANSWERED[code]) from error


def _covers(rule: Mapping[str, Any], prefix: str, replica: str) -> bool:
    chosen = rule.get("Filter", {})
    tagged = "Tag" in chosen or "And" in chosen  # whatever has no such tag is left out
    return (
        rule["Status"] == "Enabled"
        and rule["Destination"]["Bucket"].rpartition(":")[2] == replica
        and not tagged
        and prefix.startswith(_prefix(rule))
    )


def _prefix(rule: Mapping[str, Any]) -> str:
    chosen = rule.get("Filter", {})
    return str(chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or rule.get("Prefix") or "")


def _in_words(rule: Mapping[str, Any]) -> str:
    tagged = ", tagged objects only" if {"Tag", "And"} & rule.get("Filter", {}).keys() else ""
    return f"{_prefix(rule) or 'everything'} to {rule['Destination']['Bucket']} ({rule['Status'].lower()}{tagged})"
