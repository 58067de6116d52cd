"""The signature of a quick PUT is botocore's."""

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from backup_playbook.repository.quick import signed

NOW = datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC)
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize("token", [None, "token/+="])
@given(key=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), body=st.binary(max_size=50))
def test_any_key_is_signed_as_botocore_signs_it(token: str | None, key: str, body: bytes) -> None:
    path = f"/bucket/{quote(key, safe='/~')}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None))
        request = AWSRequest("PUT", f"http://localhost:9000{path}", {"x-amz-storage-class": "STANDARD_IA"}, body)
        credentials = ReadOnlyCredentials("AKIA", SECRET, token)
        S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(request)
    theirs = {name.lower(): value for name, value in request.headers.items()}
    mine = {
        "host": "localhost:9000",
        "x-amz-content-sha256": theirs["x-amz-content-sha256"],
        "x-amz-storage-class": "STANDARD_IA",
    }
    assert signed(path, mine, credentials, "eu-west-1", NOW) == {"host": "localhost:9000", **theirs}
