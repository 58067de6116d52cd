"""What a worker that is not root may do, tried by tests that run as root."""

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded.unprivileged import server_user

_PR_SET_DUMPABLE = 4


@contextmanager
def ordinary_user(*directories: Path) -> Iterator[None]:
    """This process is an ordinary user's, who owns the directories and can reach them."""
    user = server_user()
    if user is None:
        yield
        return
    for directory in directories:
        os.chown(directory, user.pw_uid, user.pw_gid)
        for above in directory.parents:
            if above.owner() == "root" and not above.stat().st_mode & 0o001:
                above.chmod(above.stat().st_mode | 0o001)
    time.strptime("", "")  # imports a module, which that user may not read
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    # else what /proc says of this process would be root's, unlike that of one that was never root
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
