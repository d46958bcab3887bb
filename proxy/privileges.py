"""Root's rights, given up by commands that write into a store which is somebody else's.

Law: it is for good. What a command makes beside a running proxy must be the proxy's to read and to
replace: a folder of root's in the store would keep the proxy out of it ever after.
"""

import os
import pwd
from contextlib import suppress
from pathlib import Path


def act_as_owner_of(folder: Path) -> None:
    """Where this is root and the folder another user's: be that user, with that user's groups.

    Raises OSError where the rights to do so were taken from root.
    """
    if os.geteuid() != 0 or not folder.exists():
        return
    found = folder.stat()
    if found.st_uid == 0:
        return
    os.setgroups(_groups(found.st_uid, found.st_gid))
    os.setgid(found.st_gid)
    os.setuid(found.st_uid)


def _groups(user: int, group: int) -> list[int]:
    with suppress(KeyError):
        return os.getgrouplist(pwd.getpwuid(user).pw_name, group)
    return [group]
