"""Settings of the engine in sources.yaml and targets.yaml, and how a test plugs it in."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

import pytest
from pydantic import Field, create_model

from backup_playbook.config import DatabaseSource, RestoreTest, Source, Target, load
from backup_playbook.config.recovery import Recovery
from backup_playbook.config.strict import Strict
from backup_playbook.config.values import Directory, Name, NonEmpty
from backup_playbook.connections import registry


class SqliteSource(DatabaseSource):
    """One SQLite database."""

    records: ClassVar[str] = "rows"
    engine: Literal["sqlite"]
    directory: Directory = Field(description="Where its file is, on every worker.")
    database: NonEmpty = Field(description="The name of its file, without `.sqlite3`.")
    restore_test: RestoreTest | None = None
    recovery: Recovery | None = None


class SqliteTarget(Strict):
    """A directory in which restores may make databases of their own."""

    kind: ClassVar[Literal["database", "files"]] = "database"
    engine: Literal["sqlite"]
    directory: Directory


def plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plug the engine in: a line in connections/registry.py, and a member of two unions in config/models.py."""
    monkeypatch.setitem(registry.ENGINES, "sqlite", "tests.support.example_engine.access:SqliteAccess")
    for file, section, union, member in (
        ("sources.yaml", "sources", Source, SqliteSource),
        ("targets.yaml", "targets", Target, SqliteTarget),
    ):
        wider: Any = Annotated[get_args(union)[0] | member, Field(discriminator="engine")]
        fields: dict[str, Any] = {section: Mapping[Name, wider]}
        monkeypatch.setitem(load.FILES, file, create_model(section, __base__=Strict, **fields))
