"""The engines. A new one is one line here, an `Access` beside this file, and its own settings in config/."""

from __future__ import annotations

from importlib import import_module

from backup_playbook.config import PlaybookConfig
from backup_playbook.connections.base import Access

ENGINES = {
    "postgres": "backup_playbook.connections.postgres:PostgresAccess",
    "mongodb": "backup_playbook.connections.mongodb:MongoAccess",
    "files": "backup_playbook.connections.files:FilesAccess",
}
"""Where the Access of each engine is; imported when it is needed, for each brings its driver."""


def access(config: PlaybookConfig, source: str) -> Access:
    """Return the access to a source. Raises ConfigError when the configuration has no such source."""
    module, _, name = ENGINES[config.source(source).engine].partition(":")
    found: type[Access] = getattr(import_module(module), name)
    return found(config, source)
