"""What an object store's errors mean, in sentences."""

from __future__ import annotations

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
_REMEDIES = {
    "NoSuchBucket": "Create the bucket, or correct `bucket` in repositories.yaml.",
    "AccessDenied": "Grant the credentials of this repository s3:ListBucket, s3:GetObject, s3:PutObject, "
    "s3:PutObjectTagging, s3:DeleteObject and s3:AbortMultipartUpload on it.",
    "InvalidAccessKeyId": "Correct the access key in the Airflow connection of this repository.",
    "SignatureDoesNotMatch": "Correct the secret key in the Airflow connection of this repository.",
    "NoSuchKey": "The object is gone: use another backup, or the off-site copy.",
    "InvalidObjectState": "The object is archived: request its retrieval from Glacier first.",
    "PreconditionFailed": "Someone replaced the object while it was read: find out who writes to the bucket.",
    "NotImplemented": _LACKS_FEATURE,
    "MethodNotAllowed": _LACKS_FEATURE,
    "InvalidRequest": _LACKS_FEATURE,
    "InvalidArgument": _LACKS_FEATURE,
}
_STATUS_NAMES = {"403": "AccessDenied", "404": "NoSuchKey", "501": "NotImplemented"}
_DEFAULT_REMEDY = "Try again; when it stays, read the object store's own log for this time."


def code_of(error: ClientError) -> str:
    """The S3 error code; HEAD answers carry only a status, which is translated."""
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
            _REMEDIES.get(code, _DEFAULT_REMEDY),
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
    """Whether what was asked for does not exist, or that version of it."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and code_of(cause) in (
        "NoSuchKey",
        "NoSuchVersion",
        "NotFound",
        "MethodNotAllowed",
    )


def is_of_object(error: RepositoryError) -> bool:
    """Whether a read failed for something of this one object, so that others may well be read.

    It is gone, archived, encrypted with a key that may not be used, or the disk below it is failing: what is cut at
    the same place again and again is that, too. Credentials, quotas, requests that are too many and lost connections
    concern them all.
    """
    cause = error.__cause__
    if isinstance(cause, ClientError):
        code = code_of(cause)
        return is_missing(error) or code in _OF_OBJECT or code.startswith("KMS")
    return isinstance(cause, IncompleteReadError | ResponseStreamingError)


_OF_OBJECT = frozenset({"AccessDenied", "InvalidObjectState", "InvalidRequest", "InternalError"})
