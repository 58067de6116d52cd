"""Base of all models of include/config."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A model that refuses unknown keys and converted types."""

    # defer_build: every DAG file imports these modules, and only the files' models are ever built.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)
