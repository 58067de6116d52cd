"""Kinds of values in include/config, each with the sentence that helps when one is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = r"(0|[1-9]\d{0,14})(B|kB|MB|GB|TB)"
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}
_DURATION = r"[1-9]\d{0,5}[smhd]"


def advice(sentence: str) -> PydanticCustomError:
    """Error whose text is `sentence`, which starts with what to do."""
    return PydanticCustomError("advice", "{sentence}", {"sentence": sentence})


def _matching(pattern: str, sentence: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise advice(sentence)
        return value

    return check


def _text(pattern: str, sentence: str) -> tuple[AfterValidator, object]:
    return AfterValidator(_matching(pattern, sentence)), Field(json_schema_extra={"pattern": f"^{pattern}$"})


def _parse_duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(_DURATION, value):
        raise advice("Write a duration as a number and its unit, such as 30s, 15m, 24h or 7d.")
    return int(value[:-1]) * _UNITS[value[-1]]


def _format_duration(value: timedelta) -> str:
    unit = next(unit for unit, length in _UNITS.items() if not value % length)
    return f"{value // _UNITS[unit]}{unit}"


def _parse_size(value: object) -> int:
    if isinstance(value, str) and (match := re.fullmatch(_SIZE, value)):
        return int(match[1]) * _BYTES[match[2]]
    raise advice("Write a size as a number and its unit, such as 500kB, 100MB or 20GB.")


def _format_size(value: int) -> str:
    unit = next(unit for unit in reversed(_BYTES) if not value % _BYTES[unit])
    return f"{value // _BYTES[unit]}{unit}"


def _readable_at_once(storage_class: str) -> str:
    if storage_class in ("GLACIER", "DEEP_ARCHIVE"):
        raise advice(
            "Use a class that can be read at once: verification reads every new backup back. "
            "Move old backups to GLACIER by a lifecycle rule on the tag 'backup-tier'."
        )
    return storage_class


def _absolute(value: str) -> str:
    path = PurePosixPath(value)
    if not path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise advice("Write the absolute path of a directory, such as /srv/uploads.")
    return value


def _file_of_the_folder(value: Path, info: ValidationInfo) -> Path:
    """Path of a file in the configuration folder, which the loader gives as context."""
    if info.context is None:
        return value
    path: Path = info.context["folder"] / value
    if not path.is_file():
        raise advice(f"Put the file there: {path} does not exist. Paths are relative to the configuration folder.")
    return path


Name = Annotated[
    str,
    *_text(
        r"[a-z0-9][a-z0-9_-]{0,62}",
        "Use lower-case letters, digits, '-' and '_' only, 63 at most, the first one a letter or digit: "
        "names become parts of S3 keys.",
    ),
]
"""Name of a source, repository, policy ..."""

ConnectionId = Annotated[
    str,
    # The value is not repeated: a whole URI, password included, is the likeliest mistake.
    *_text(
        r"[A-Za-z0-9_.-]{1,200}",
        "Write the id of an Airflow connection (letters, digits, '_', '.' and '-'), not an address or a secret.",
    ),
]

BucketName = Annotated[
    str,
    *_text(
        r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "Write the bucket's name alone: 3 to 63 lower-case letters, digits, '.' and '-', without s3:// and slashes.",
    ),
]

KeyPrefix = Annotated[
    str,
    *_text(
        r"(?!\.)[A-Za-z0-9_.-]+(/(?!\.)[A-Za-z0-9_.-]+)*",
        "Write a key prefix without slashes at its ends, such as 'playbook' or 'team/playbook' (letters, digits, '_', "
        "'.', '-'; no part starts with a dot). Nothing outside of it is ever deleted.",
    ),
]

Directory = Annotated[str, AfterValidator(_absolute), Field(json_schema_extra={"examples": ["/srv/uploads"]})]
"""The absolute path of a directory; whether it exists, only the workers know."""

NonEmpty = Annotated[str, *_text(r"\S(.*\S)?", "Write a name, without spaces around it.")]

StorageClass = Annotated[str, AfterValidator(_readable_at_once)]

Duration = Annotated[
    timedelta,
    BeforeValidator(_parse_duration),
    PlainSerializer(_format_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION}$", "examples": ["15m", "24h", "7d"]}),
]

Size = Annotated[
    int,
    BeforeValidator(_parse_size),
    PlainSerializer(_format_size),
    WithJsonSchema({"type": "string", "pattern": f"^{_SIZE}$", "examples": ["500kB", "100MB", "20GB"]}),
]
"""Size in bytes; 1 kB are 1,000 of them."""

FileOfTheFolder = Annotated[Path, Field(strict=False), AfterValidator(_file_of_the_folder)]
"""Path of a file: relative to the configuration folder in the YAML, absolute once loaded."""
