"""What to do when a store refuses: a sentence that fits the answer."""

import pytest
from botocore.exceptions import ClientError

from backup_playbook.core.errors import RepositoryError
from backup_playbook.repository.s3errors import explained


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        ("ExpiredToken", "The provided token has expired.", "session token in the Airflow connection"),
        ("InvalidToken", "The provided token is malformed.", "session token in the Airflow connection"),
        ("RequestTimeTooSkewed", "The difference is too large.", "Set this worker's clock"),
        ("QuotaExceeded", "", "enlarge the object store's disk or quota"),
        ("507", "", "enlarge the object store's disk or quota"),
        ("InternalError", "write /data/x: no space left on device", "enlarge the object store's disk or quota"),
        ("XMinioStorageFull", "Storage backend has reached its minimum free drive threshold.", "enlarge"),
        ("PermanentRedirect", "", "Correct `region`"),
        ("301", "Moved Permanently", "Correct `region`"),
        ("AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong", "Correct `region`"),
        ("KMS.DisabledException", "arn:aws:kms:...: is disabled.", "Enable the KMS key"),
        ("NoSuchVersion", "", "lifecycle rule"),
        ("AccessDenied", "", "`server_side_encryption`"),
        ("SlowDown", "", "Lower `streams`"),
        ("InvalidPart", "All non-trailing parts must have the same length.", "`equal_parts: true`"),
        ("SomethingElse", "", "Try again"),
    ],
)
def test_remedy(code: str, message: str, remedy: str) -> None:
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    with pytest.raises(RepositoryError) as caught, explained("write s3://b/x"):
        raise ClientError(answer, "PutObject")  # type: ignore[arg-type]
    assert remedy in caught.value.remedy
