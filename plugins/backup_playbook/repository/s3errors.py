"""Errors of object stores, explained in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ResponseStreamingError,
)
from botocore.exceptions import ConnectionError as S3ConnectionError
from botocore.parsers import ResponseParserError

from backup_playbook.core.errors import RepositoryError

_LACKS_FEATURE = (
    "This S3 compatible lacks something: set `conditional_writes: false` (If-None-Match), `object_tags: false` (tags) "
    "or `checksums: false` (SHA-256 headers) for it in repositories.yaml, whichever the answer speaks of."
)
_RENEW = (
    "Renew the temporary credentials: correct access key, secret and session token in the Airflow connection of this "
    "repository, or give the worker a role, which renews them by itself."
)
_CLOCK = "Set this worker's clock: it differs from the object store's by more than that allows (NTP, `date -u`)."
_REGION = (
    "Correct `region` of this repository in repositories.yaml, or the endpoint_url of its connection: the bucket is in "
    "another region than was asked."
)
_FULL = (
    "Make room: enlarge the object store's disk or quota, or lower `retention` in policies.yaml and run the nightly "
    "backup's `prune`. Nothing that was sealed is damaged by this."
)
_KEY = (
    "Enable the KMS key that the answer speaks of (aws kms enable-key; cancel-key-deletion first when it is to be "
    "deleted): without it, nothing that was encrypted with it can be read. Or correct `kms_key_id` in "
    "repositories.yaml."
)
_BUSY = "Lower `streams` of the sources that use this store, or run them at other times; then clear this task."
_REMEDIES = {
    "NoSuchBucket": "Create the bucket, or correct `bucket` in repositories.yaml.",
    "AccessDenied": "Grant the credentials of this repository s3:ListBucket, s3:GetObject, s3:PutObject, "
    "s3:PutObjectTagging, s3:DeleteObject and s3:AbortMultipartUpload on it. If they have these, its policy may demand "
    "encryption: set `server_side_encryption` (and `kms_key_id`) in repositories.yaml; the key must allow "
    "kms:GenerateDataKey and kms:Decrypt.",
    "InvalidAccessKeyId": "Correct the access key in the Airflow connection of this repository.",
    "SignatureDoesNotMatch": "Correct the secret key in the Airflow connection of this repository.",
    "NoSuchKey": "The object is gone: use another backup, or the off-site copy.",
    "NoSuchVersion": "This version of the object is gone, by a lifecycle rule or manually: use another backup, or the "
    "off-site copy; and find out who removes versions.",
    "ExpiredToken": _RENEW,
    "InvalidToken": _RENEW,
    "TokenRefreshRequired": _RENEW,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "QuotaExceeded": _FULL,
    "ServiceQuotaExceeded": _FULL,
    "InsufficientCapacity": _FULL,
    "XMinioStorageFull": _FULL,
    "XMinioAdminBucketQuotaExceeded": _FULL,
    "KMS.DisabledException": _KEY,
    "KMS.NotFoundException": _KEY,
    "KMS.KMSInvalidStateException": _KEY,
    "KMS.InvalidStateException": _KEY,
    "KMSDisabledException": _KEY,
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InvalidPart": "If the object is large, this store may demand parts of one size: set `equal_parts: true` for it in "
    "repositories.yaml. Else try again.",
    "InvalidObjectState": "The object is archived: request its retrieval from Glacier first.",
    "PreconditionFailed": "Someone replaced the object while it was read: find out who writes to the bucket.",
    "NotImplemented": _LACKS_FEATURE,
    "MethodNotAllowed": _LACKS_FEATURE,
    "InvalidRequest": _LACKS_FEATURE,
    "InvalidArgument": _LACKS_FEATURE,
}
_STATUS_NAMES = {
    "301": "PermanentRedirect",
    "403": "AccessDenied",
    "404": "NoSuchKey",
    "500": "InternalError",
    "501": "NotImplemented",
    "503": "ServiceUnavailable",
    "507": "InsufficientCapacity",
}
_DISK_FULL = re.compile("no space left|disk (is )?full|storage .*full", re.IGNORECASE)
_DEFAULT_REMEDY = "Try again; when it stays, read the object store's own log for this time."


def code_of(error: ClientError) -> str:
    """S3 error code. HEAD answers carry only a status, which is translated."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return _STATUS_NAMES.get(code, code)


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn botocore's exceptions into RepositoryError. `action` completes "Cannot ..."."""
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        message = error.response.get("Error", {}).get("Message", "")
        retries = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        tried = f", after {retries} retries" if retries else ""
        raise RepositoryError(
            f"Cannot {action}: the object store answered {code}{f' ({message})' if message else ''}{tried}.",
            _FULL if _DISK_FULL.search(message) else _REMEDIES.get(code, _DEFAULT_REMEDY),
        ) from error
    except NoCredentialsError as error:
        raise RepositoryError(
            f"Cannot {action}: there are no credentials.",
            "Put access key and secret into the Airflow connection of this repository, or give the worker a role.",
        ) from error
    except (S3ConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise RepositoryError(
            f"Cannot {action}: no answer, or half of one, from the object store: {error}.",
            "Check that the endpoint is up and reachable from this worker; then run the task again.",
        ) from error
    except ResponseParserError as error:
        raise RepositoryError(
            f"Cannot {action}: what answered is no object store: {error}.",
            "Correct endpoint_url in the Airflow connection of this repository; a proxy or a web page may answer.",
        ) from error
    except BotoCoreError as error:
        raise RepositoryError(f"Cannot {action}: {error}.", _DEFAULT_REMEDY) from error


def is_missing(error: RepositoryError) -> bool:
    """Whether the object, or this version of it, does not exist."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and code_of(cause) in (
        "NoSuchKey",
        "NoSuchVersion",
        "NotFound",
        "MethodNotAllowed",
    )


def is_of_object(error: RepositoryError) -> bool:
    """Whether a read failed because of this one object, so that others can probably be read.

    The object is gone, archived, encrypted with a forbidden key, or the disk below it is failing, which also cuts a
    read at the same place again and again. Credentials, quotas, too many requests and lost connections concern all
    objects.
    """
    cause = error.__cause__
    if isinstance(cause, ClientError):
        code = code_of(cause)
        return is_missing(error) or code in _OF_OBJECT or code.startswith("KMS")
    return isinstance(cause, IncompleteReadError | ResponseStreamingError)


def is_unreadable(error: RepositoryError) -> bool:
    """Whether a read failed every time although the reader lacks nothing: most likely a failing disk.

    A store that is ill as a whole answers the same: ask it for something else before you blame the object.
    """
    cause = error.__cause__
    if isinstance(cause, ClientError):
        return code_of(cause) == "InternalError"
    return isinstance(cause, IncompleteReadError | ResponseStreamingError)


_OF_OBJECT = frozenset({"AccessDenied", "InvalidObjectState", "InvalidRequest", "InternalError"})
