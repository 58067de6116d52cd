"""Problems that pydantic found, as sentences for the person who edits the file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Location = Sequence[int | str]


def problems_of(error: ValidationError, document: object, model: type[BaseModel]) -> list[str]:
    """Lines `path: What to do. What is wrong.`, one for each problem."""
    lines = []
    for detail in error.errors(include_url=False):
        # A key that is no text has no place of its own: pydantic shows it as a number.
        location = detail["loc"][:-1] if detail["type"] == "invalid_key" else detail["loc"]
        location = tuple(step for step in location if step != "[key]")
        path = ".".join(map(str, _path_in_file(location, document, last=detail["type"] != "invalid_key")))
        known = _keys_at(model, location[:-1]) if detail["type"] == "extra_forbidden" else ()
        sentence = _unknown_key(str(location[-1]), known) if known else _sentence(detail)
        lines.append(f"{path}: {sentence}" if path else sentence)
    return lines


def one_of(names: Iterable[str], wrong: str, kind: str) -> str:
    """Sentences such as "Name one of: a, b. There is no <kind> 'c'."."""
    return f"Name one of: {choices(names, wrong)}. There is no {kind} {shown(wrong)}."


def choices(names: Iterable[str], wrong: str) -> str:
    """Names as a list for people; the one that was probably meant comes first."""
    names = sorted(names)
    near = difflib.get_close_matches(wrong, names, n=1)
    return ", ".join(near + [name for name in names if name not in near])


def shown(value: object) -> str:
    """A value as the person wrote it, short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unknown_key(key: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1)
    remedy = f"Write '{near[0]}', or remove the line." if near else f"Remove it; the keys here are: {', '.join(known)}."
    return f"{remedy} There is no key '{key}'."


def _sentence(detail: ErrorDetails) -> str:
    make = _SENTENCES.get(detail["type"])
    if make:
        return make(detail, detail.get("ctx", {}))
    return f"Correct the value {shown(detail['input'])}: {detail['msg']}."


def _choice(detail: ErrorDetails, context: dict[str, Any]) -> str:
    # pydantic gives the choices as text: "'full' or 'checksums'", and "'a', 'b'" for a discriminator.
    expected = context.get("expected_tags") or context["expected"]
    names = [name for name in expected.split("'")[1::2] if name]
    wrong = str(context["tag"] if "tag" in context else detail["input"])
    return one_of(names, wrong, "choice")


_SENTENCES: dict[str, Callable[[ErrorDetails, dict[str, Any]], str]] = {
    "advice": lambda detail, _: detail["msg"],
    "missing": lambda *_: "Add this key; it is required.",
    "literal_error": _choice,
    "union_tag_invalid": _choice,
    "union_tag_not_found": lambda _, context: f"Add the key {context['discriminator']}; it is required.",
    "invalid_key": lambda detail, _: f"Put the key in quotes. YAML reads it as {shown(detail['input'])}, not as text.",
    "string_type": lambda detail, _: f"Write text (in quotes), not {shown(detail['input'])}.",
    "int_type": lambda detail, _: f"Write a whole number (without quotes), not {shown(detail['input'])}.",
    "bool_type": lambda detail, _: f"Write true or false (without quotes), not {shown(detail['input'])}.",
    "tuple_type": lambda detail, _: f"Write a list, such as [a, b], not {shown(detail['input'])}.",
    "too_short": lambda _, context: f"Add entries: at least {context['min_length']} is needed here.",
    "greater_than_equal": lambda detail, context: (
        f"Write at least {shown(context['ge'])}, not {shown(detail['input'])}."
    ),
    "less_than_equal": lambda detail, context: f"Write at most {shown(context['le'])}, not {shown(detail['input'])}.",
} | dict.fromkeys(
    ("model_type", "model_attributes_type", "mapping_type", "dict_type"),
    lambda detail, _: f"Write indented `key: value` lines, not {shown(detail['input'])}.",
)


def _path_in_file(location: Location, document: object, *, last: bool) -> Iterator[int | str]:
    """`location` without the steps that only pydantic knows: the branch of a union, such as `gpg_recipients`.

    last: with its last step, which the file may lack.
    """
    here: Any = document
    for position, step in enumerate(location, start=1):
        if (isinstance(here, Mapping) and step in here) or isinstance(step, int):
            here = here[step]
            yield step
        elif last and position == len(location):
            yield step


def _keys_at(model: type[BaseModel], location: Location) -> list[str]:
    """Keys that a model knows at a place in its file."""
    models = [model]
    for step in location:
        nested = [
            found
            for one in models
            if step in one.model_fields
            for found in _models_in(one.model_fields[str(step)].annotation)
        ]
        # else the step is a name in a mapping, or the branch of a union
        models = nested or [one for one in models if _is_branch(one, step)] or models
    return list(dict.fromkeys(key for one in models for key in one.model_fields))


def _is_branch(model: type[BaseModel], tag: object) -> bool:
    return any(tag in get_args(field.annotation) for field in model.model_fields.values())


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
