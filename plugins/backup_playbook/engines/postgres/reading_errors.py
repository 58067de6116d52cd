"""Remedies when a database could not be read to the end."""

from __future__ import annotations

import re

# what the server says of pages and TOAST values that it cannot make sense of
_DAMAGE = (
    r"invalid page in block|could not read block|missing chunk number|unexpected chunk (number|size)|"
    r"compressed \S+ data is corrupt|could not access status of transaction"
)


def remedy(message: str) -> str:
    """Choose the remedy; message: the words of the server, or of a client program."""
    if re.search(r'invalid snapshot identifier|import the requested snapshot|snapshot ".*" does not exist', message):
        return "The snapshot's connection was lost: look at the server's log for this time; then run the backup again."
    if "conflict with recovery" in message:
        return "On the standby, raise max_standby_streaming_delay or set hot_standby_feedback = on; or use the primary."
    if re.search(_DAMAGE, message):
        return (
            "The database itself is damaged: this is no fault of the backup. Find out since when (its log, the "
            "last good backup), look at the disks, and bring an older backup back: recover_corrupted_database."
        )
    if "invalid byte sequence for encoding" in message:
        return (
            "If this is the name of a role: it was made in a database of another encoding. Rename it there (ALTER ROLE "
            "... RENAME TO ...), in ASCII; pg_dumpall cannot read it here."
        )
    if "permission denied" in message:
        return "Grant pg_read_all_data to the backup role (see the README); then run the backup again."
    if "out of shared memory" in message:
        return "Raise max_locks_per_transaction of the server, restart it, and run the backup again."
    if any(
        words in message for words in ("server closed the connection", "connection to server", "terminating connection")
    ):
        return "Look at the server's log for this time; then run the backup again."
    return "Read the last lines of the program, above; run the backup again when the cause is gone."
