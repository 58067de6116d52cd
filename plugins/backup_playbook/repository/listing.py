"""Pages of a listing, read several times faster than botocore does.

botocore needs 5 seconds for 40,000 keys, nearly all of it to guess the format of each LastModified, which S3 fixes. A
catalog is listed by every task, so its pages are read here; everything else in the answer is left to botocore.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from botocore.parsers import ResponseParserError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

Reader = Callable[[Element, str, Callable[[str], str]], Any]

LISTED = "Listed"
"""Name under which `fast_listing` adds the items to an answer: a list of `ListedPath` or `ListedVersion`."""


class ListedPath(NamedTuple):
    """An object of a listing."""

    path: str
    """Full key in the bucket."""
    bytes: int
    modified: datetime


class ListedVersion(NamedTuple):
    """A version, or delete marker, of a listing.

    deleted: it is a delete marker, which has no bytes. latest: a read without a version gets it.
    """

    path: str
    version: str
    bytes: int
    modified: datetime
    latest: bool
    deleted: bool
    storage_class: str = ""


def fast_listing(client: S3Client) -> None:
    """Make this client's listings of objects and of versions carry `LISTED`; do nothing the second time."""
    # The asterisk, not "s3", puts it before a handler of botocore that parses the whole document to find errors.
    for operation, take in (("ListObjectsV2", _take_contents), ("ListObjectVersions", _take_versions)):
        client.meta.events.register_first(
            f"before-parse.*.{operation}", take, unique_id=f"backup-playbook-fast-{operation}"
        )


def _take_contents(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    _take(response_dict, customized_response_dict, "ListBucketResult", {"Contents": _object})


def _take_versions(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    kinds = {"Version": _version, "DeleteMarker": _version}
    _take(response_dict, customized_response_dict, "ListVersionsResult", kinds)


def _object(item: Element, space: str, decode: Callable[[str], str]) -> ListedPath:
    size, modified = item.findtext(f"{space}Size", ""), item.findtext(f"{space}LastModified", "")
    return ListedPath(decode(item.findtext(f"{space}Key", "")), int(size), datetime.fromisoformat(modified))


def _version(item: Element, space: str, decode: Callable[[str], str]) -> ListedVersion:
    return ListedVersion(
        decode(item.findtext(f"{space}Key", "")),
        item.findtext(f"{space}VersionId", ""),
        int(item.findtext(f"{space}Size", "0")),
        datetime.fromisoformat(item.findtext(f"{space}LastModified", "")),
        item.findtext(f"{space}IsLatest", "") == "true",
        item.tag == f"{space}DeleteMarker",
        item.findtext(f"{space}StorageClass", ""),
    )


def _take(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], root_name: str, kinds: Mapping[str, Reader]
) -> None:
    if response_dict["status_code"] != 200:
        return
    try:
        root = ElementTree.fromstring(response_dict["body"])  # noqa: S314 - botocore parses the same bytes the same way
    except ElementTree.ParseError:
        return  # botocore takes it for an answer that was cut, and asks again
    if not root.tag.endswith((root_name, "Error")):
        raise ResponseParserError(f"<{root.tag}> instead of a listing")
    space = root.tag.rpartition("}")[0] + "}" if root.tag.startswith("{") else ""
    # S3 encodes what XML cannot hold, when asked to; botocore asks, some compatibles do not do it
    decode = unquote_plus if root.findtext(f"{space}EncodingType") == "url" else str
    readers = {space + name: reader for name, reader in kinds.items()}
    found, rest = [], []
    for item in root:
        if reader := readers.get(item.tag):
            found.append(reader(item, space, decode))
        else:
            rest.append(item)
    root[:] = rest
    customized_response_dict[LISTED] = found
    response_dict["body"] = ElementTree.tostring(root)
