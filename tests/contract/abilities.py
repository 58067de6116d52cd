"""The abilities of each engine beyond backups and restores, as `engines.live_database` and `record_recovery` have them.

| engine   | LiveDatabase | RecordRecovery |
|----------|--------------|----------------|
| postgres | yes | yes, of rows |
| mongodb  | yes | yes, of documents |
| files    | no: `restore_files` writes into production itself | no: `restore_files` restores single files |
| sqlite   | yes | yes, of rows |

SQLite is the example in tests/support/example_engine: to add an engine, start there.
`test_live_databases.py` holds the table to what the configuration lets people ask for. A new engine joins with a line
here and a scene of its own (see `scenes.py`).
"""

from collections.abc import Mapping, Sequence

ABILITIES: Mapping[str, Sequence[str]] = {
    "postgres": ("LiveDatabase", "RecordRecovery"),
    "mongodb": ("LiveDatabase", "RecordRecovery"),
    "files": (),
    "sqlite": ("LiveDatabase", "RecordRecovery"),
}


def engines_with(ability: str) -> list[str]:
    return [engine for engine, abilities in ABILITIES.items() if ability in abilities]
