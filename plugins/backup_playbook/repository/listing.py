"""Pages of a listing, read several times faster than botocore does.

botocore needs 5 seconds for 40,000 keys, nearly all of it to guess the format of each LastModified, which S3 fixes. A
catalog is listed by every task, so its pages are read here; everything else in the answer is left to botocore.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from botocore.parsers import ResponseParserError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

LISTED = "Listed"
"""What `fast_listing` adds to an answer of ListObjectsV2, in the place of Contents: a list of `ListedPath`."""


class ListedPath(NamedTuple):
    path: str
    """The whole key in the bucket."""
    bytes: int
    modified: datetime


def fast_listing(client: S3Client) -> None:
    """Make this client's answers to ListObjectsV2 carry `LISTED`; does nothing the second time."""
    # The asterisk, not "s3", puts it before a handler of botocore that parses the whole document to find errors.
    client.meta.events.register_first(
        "before-parse.*.ListObjectsV2", _take_contents, unique_id="backup-playbook-fast-listing"
    )


def _take_contents(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] != 200:
        return
    try:
        root = ElementTree.fromstring(response_dict["body"])  # noqa: S314 - botocore parses the same bytes the same way
    except ElementTree.ParseError:
        return  # botocore takes it for an answer that was cut, and asks again
    if not root.tag.endswith(("ListBucketResult", "Error")):
        raise ResponseParserError(f"<{root.tag}> instead of a listing")
    space = root.tag.rpartition("}")[0] + "}" if root.tag.startswith("{") else ""
    # S3 encodes what XML cannot hold, when asked to; botocore asks, some compatibles do not do it
    decode = unquote_plus if root.findtext(f"{space}EncodingType") == "url" else str
    key, bytes_, modified_ = (f"{space}{name}" for name in ("Key", "Size", "LastModified"))
    found = []
    for item in root.findall(f"{space}Contents"):
        path, size, modified = item.findtext(key, ""), item.findtext(bytes_, ""), item.findtext(modified_, "")
        found.append(ListedPath(decode(path), int(size), datetime.fromisoformat(modified)))
        root.remove(item)
    customized_response_dict[LISTED] = found
    response_dict["body"] = ElementTree.tostring(root)
