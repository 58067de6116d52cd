"""The index by symptom: a person who needs a DAG looks for what they see. Rows of docs/DAGS.md and of the README."""

from typing import NamedTuple


class Symptom(NamedTuple):
    """Something that a person sees, and the DAG that helps. what: Markdown; one DAG may have several.

    form: titles of fields to fill in, in asterisks. takes: the expected time, without waits for people. Those with a
    time are in the README, too: they are for the worst of days.
    """

    what: str
    dag_id: str
    form: str = ""
    takes: str = ""


SYMPTOMS = (
    Symptom(
        "Rows were deleted or changed by mistake (Postgres)",
        "recover_deleted_rows",
        "*Source*, *Table*, *Keys* or *Or a condition*, *When were they deleted?*",
        "1 to 2 minutes",
    ),
    Symptom(
        "Documents were deleted or changed by mistake (MongoDB)",
        "recover_deleted_documents",
        "*Source*, *Collection*, *Ids* or *Or a query*, *When were they deleted?*",
        "1 to 2 minutes",
    ),
    Symptom(
        "The data of a database is wrong, or cannot be read",
        "recover_corrupted_database",
        "*Source*, *When was it corrupted?* (empty: you choose among the newest backups)",
        "one restore¹, then 2 seconds without the database",
    ),
    Symptom(
        "A database or its server is gone",
        "restore_database",
        "*Source*, *Target*: `new_database`, *Name of the new database*, *Server of the new database*",
        "one restore¹",
    ),
    Symptom(
        "A database is needed as it was, to look something up or to try something",
        "restore_database",
        "*Source*, *Target*: `staging`, *Before*, *Only*",
        "one restore¹",
    ),
    Symptom(
        "Files were deleted, overwritten or encrypted",
        "restore_files",
        "*Source*, *Path*, *When were they lost?*, *Destination*",
        "a minute for a file; as long as a copy for a tree",
    ),
    Symptom(
        "A recovery was a mistake: what was live must come back",
        "rollback_promotion",
        "*Source*",
        "a minute",
    ),
    Symptom(
        "An alert says that a backup is damaged",
        "repair_backup",
        "*Source*",
        "as long as a copy",
    ),
    Symptom(
        "Nobody knows which backups can be restored",
        "list_recovery_points",
        "none",
        "seconds",
    ),
    Symptom(
        'Somebody asks "was it in the backup?"',
        "list_backup_contents",
        "*Source*, *Table*, *Keys*",
        "a minute",
    ),
    Symptom(
        "Somebody asks since when a file is gone or wrong",
        "list_file_versions",
        "*Source*, *Path*",
        "seconds",
    ),
    Symptom(
        "Last night's backup of a database is missing, or a migration is about to start", "nightly_database_backup"
    ),
    Symptom("Last night's backup of files is missing, or waits because many files are gone", "nightly_file_backup"),
    Symptom("A backup cannot be restored, or was not proven for long", "monthly_restore_test"),
    Symptom(
        "A problem that was told is repaired, or a backup is good although a copy was not equal",
        "daily_backup_verification",
    ),
    Symptom("A database that was replaced is not needed any more, and takes up disk space", "release_quarantine"),
    Symptom("A backup that was kept with *Hold* is not needed any more", "release_hold"),
)
