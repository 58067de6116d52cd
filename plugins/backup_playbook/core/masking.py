"""Masking of values: every log, XCom, plan and report shows those of rows and documents through `masked`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
CELL_CHARACTERS = 60
_CAMEL = r"(?-i:(?<=[a-z])(?=[A-Z]))"
_WORDS = (
    r"(?:passw|passphrase|passcode|pwd|secret|token|credential|cvv|iban|(?:card|account)[_-]?number"
    r"|(?:api|private|access|signing|encryption)[_-]?key|authorization"
    # short ones are words of their own: no `pinned`, `session`, `compass`, `pass_rate`
    rf"|(?:(?<![a-z])|{_CAMEL})(?:(?:pin|ssn)(?:(?![a-z])|{_CAMEL})|pass(?![a-z_])))"
)
_CONFIDENTIAL = re.compile(_WORDS, re.IGNORECASE)
# a name within a text: "password"=>"x" of hstore, password=x, <password>, "password": in JSON that was cut
_WITHIN = re.compile(rf"{_WORDS}[\w\"'\\-]*\s*(?:[=:>]|,[\s\"'\\]*value\b)|://[^/@\s]*:[^/@\s]*@", re.IGNORECASE)


def is_confidential(name: str) -> bool:
    """Whether nobody is to see the values of a column or field of this name."""
    return bool(_CONFIDENTIAL.search(name))


def masked(value: Any, name: str = "") -> Any:
    """Value of the column or field `name`, to any depth, without confidential parts; None stays None."""
    if value is None:
        return None
    if is_confidential(name):
        return HIDDEN
    if isinstance(value, Mapping):
        # a list of settings has the name in one field, and its value in another
        label = next((value[key] for key in ("name", "key", "field") if isinstance(value.get(key), str)), "")
        return {key: masked(inner, label if key == "value" else str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(inner) for inner in value]
    return _masked_text(value) if isinstance(value, str) else value


def in_words(row: Mapping[str, Any]) -> str:
    """Row for people: `a=1, b=***, c=NULL`."""
    return ", ".join(f"{name}={'NULL' if value is None else value}" for name, value in masked(row).items())


def shortened(text: str) -> str:
    """Text cut to CELL_CHARACTERS."""
    return text if len(text) <= CELL_CHARACTERS else f"{text[:CELL_CHARACTERS]} ..."


def _masked_text(text: str) -> str:
    """Text without confidential parts. It may be JSON, and so have fields."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if (shown := masked(found)) != found:
            return json.dumps(shown, ensure_ascii=False)
    return HIDDEN if _WITHIN.search(text) else text
