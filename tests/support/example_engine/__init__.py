"""An engine for SQLite, small and whole: to add an engine, start here.

A database is a file, and a server is a directory of them. Read the modules in this order; those of a real engine are in
`plugins/backup_playbook`:

| here | there | what it is |
|---|---|---|
| `settings.py` | `config/<engine>.py` | what sources.yaml and targets.yaml say |
| `access.py` | `connections/<engine>.py` | from these settings to the abilities below |
| `database.py` | `engines/<engine>/` | how a database is opened, marked and recognised |
| `dump.py` | | a backup: one moment of it, as a stream of SQL for each table (`Source`) |
| `engine.py` | | what a backup is without its source (`DatabaseEngine`), and its restore.sh |
| `copies.py` | | copies of a backup: made, filled, proven, kept, dropped (`CopyServer`, `ScratchTarget`) |
| `live.py` | | production, replaced by a copy, and brought back (`LiveDatabase`) |
| `records.py` | | single rows, put back into production (`RecordRecovery`) |

A new engine touches two shared modules, beside docs/ and the README:

1. `connections/registry.py`: one line that names its Access;
2. `config/models.py`: its settings are a member of `Source`, and of `Target`.

`settings.plug_in` does just that for a test, and `tests/dags/test_example_engine.py` holds the figure. A source whose
settings have `records`, `restore_test` and `recovery` appears by itself in the forms of the DAGs that fit it. What the
engine cannot do is left out of its Access: who asks for it gets a ConfigError. What every engine must do is held by
`tests/contract`: there an engine joins with a case, a scene and a line in `abilities.py`.
"""
