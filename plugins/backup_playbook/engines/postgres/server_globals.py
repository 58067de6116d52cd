"""Roles and tablespaces of a server, as pg_dumpall writes them; and whether the hashes of passwords are among it.

Whoever may read all tables may read pg_authid too: not only superusers, but the documented backup role. The hashes are
those of every role of the server, superusers included.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Literal

from backup_playbook.core.errors import ProcessFailedError
from backup_playbook.streams import processes

log = logging.getLogger(__name__)

RolePasswords = Literal["encrypted", "always", "never"]


def wants_passwords(choice: RolePasswords, *, encrypted: bool) -> bool:
    """Whether the source's `role_passwords` lets hashes be stored; says so when it does not."""
    if choice == "always" or (choice == "encrypted" and encrypted):
        return True
    log.info(
        "Roles are stored without their passwords: `role_passwords` of this source is %s%s. After a loss of the whole "
        "server, passwords have to be set anew.",
        choice, "" if choice == "never" else ", and its backups are not",
    )  # fmt: skip
    return False


def read_globals(argv: Sequence[str], environment: Mapping[str, str], *, passwords: bool) -> tuple[bytes, bool]:
    """Read the output of pg_dumpall, and whether it has the hashes.

    Some servers (RDS) refuse the hashes to everyone, whatever the grants say: it is run again without them.
    """
    if passwords:
        try:
            return processes.run(argv, env=environment), True
        except ProcessFailedError as error:
            if "pg_authid" not in error.stderr or "permission denied" not in error.stderr:
                raise
            log.warning("Roles are stored without their passwords: the server lets this role read none.")
    return processes.run([*argv, "--no-role-passwords"], env=environment), False
