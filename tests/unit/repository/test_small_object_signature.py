"""The signature of a request about a small object is botocore's."""

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from backup_playbook.repository.small_objects import Request, signed

NOW = datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize("token", [None, "token/+="])
@given(
    method=st.sampled_from(["GET", "HEAD", "PUT"]), key=TEXT, version=st.one_of(st.just(""), TEXT),
    body=st.binary(max_size=50),
)  # fmt: skip
def test_any_key_is_signed_as_botocore_signs_it(
    token: str | None, method: str, key: str, version: str, body: bytes
) -> None:
    query = f"versionId={quote(version, safe='~')}" if version else ""
    path = f"/bucket/{quote(key, safe='/~')}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None))
        params = {"versionId": version} if version else {}
        headers = {"x-amz-storage-class": "STANDARD_IA"}
        request = AWSRequest(method, f"http://localhost:9000{path}", headers, body, params)
        credentials = ReadOnlyCredentials("AKIA", SECRET, token)
        S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(request)
    theirs = {name.lower(): value for name, value in request.headers.items()}
    mine = {
        "host": "localhost:9000",
        "x-amz-content-sha256": theirs["x-amz-content-sha256"],
        "x-amz-storage-class": "STANDARD_IA",
    }
    assert signed(Request(method, path, query), mine, credentials, "eu-west-1", NOW) == {
        "host": "localhost:9000",
        **theirs,
    }
