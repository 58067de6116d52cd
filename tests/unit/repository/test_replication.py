"""What S3 answers about the replication of a bucket, against what the configuration promises."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from backup_playbook.core.errors import RepositoryError
from backup_playbook.repository.replication import require_replication
from backup_playbook.repository.store import ObjectStore

ROLE = "arn:aws:iam::123456789012:role/replication"
TAGGED = {"And": {"Prefix": "shop/", "Tags": [{"Key": "keep", "Value": "yes"}]}}


def rule(**changes: Any) -> dict[str, Any]:
    return {
        "ID": "theirs",
        "Priority": 3,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Destination": {"Bucket": "arn:aws:s3:::replica"},
        **changes,
    }


@contextmanager
def answering(*rules: dict[str, Any], error: str = "") -> Iterator[ObjectStore]:
    client = boto3.client("s3", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as answers:
        if error:
            answers.add_client_error("get_bucket_replication", error)
        else:
            answer = {"ReplicationConfiguration": {"Role": ROLE, "Rules": list(rules)}}
            answers.add_response("get_bucket_replication", answer, {"Bucket": "live"})
        yield ObjectStore(client, bucket="live", prefix="shop")


@pytest.mark.parametrize(
    "right", [rule(), rule(Filter={"Prefix": "sh"}), {"Prefix": "shop/", **rule(Filter={})}], ids=["all", "part", "old"]
)
def test_a_rule_that_covers_all(right: dict[str, Any]) -> None:
    with answering(rule(ID="other", Destination={"Bucket": "arn:aws:s3:::elsewhere"}), right) as store:
        require_replication(store, "replica")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (rule(Status="Disabled"), "everything to arn:aws:s3:::replica (disabled)"),
        (rule(Destination={"Bucket": "arn:aws:s3:::elsewhere"}), "everything to arn:aws:s3:::elsewhere (enabled)"),
        (rule(Filter={"Prefix": "shop/images"}), "shop/images to arn:aws:s3:::replica (enabled)"),
        (rule(Filter=TAGGED), "shop/ to arn:aws:s3:::replica (enabled, tagged objects only)"),
    ],
    ids=["disabled", "elsewhere", "part", "tagged"],
)
def test_a_rule_that_does_not_is_told_with_the_command_that_corrects_it(wrong: dict[str, Any], told: str) -> None:
    with answering(wrong) as store, pytest.raises(RepositoryError, match="none of the 1 rules") as error:
        require_replication(store, "replica")
    assert told in error.value.what
    corrected = json.loads(shlex.split(error.value.remedy)[-1])
    assert corrected["Role"] == ROLE
    assert corrected["Rules"][0] == wrong
    assert corrected["Rules"][1]["Priority"] == 4
    with answering(*corrected["Rules"]) as store:
        require_replication(store, "replica")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("ReplicationConfigurationNotFoundError", "there is none"),
        ("AccessDenied", "s3:GetReplicationConfiguration"),
        ("NotImplemented", "remove `replication`"),
    ],
)
def test_no_rules(code: str, told: str) -> None:
    with answering(error=code) as store, pytest.raises(RepositoryError) as error:
        require_replication(store, "replica")
    assert told in f"{error.value.what} {error.value.remedy}"
