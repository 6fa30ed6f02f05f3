"""How many files and connections the system lets this process have, and how many of them are left to clients."""

from __future__ import annotations

import resource

_FILES_WANTED = 65_536
_FILES_RESERVED = 384
"""For the log, the SQLite file, peers, and peers to be that are still in their handshake."""


def raise_open_files_max() -> int:
    """Raise the soft limit as far as the hard one lets us, up to what a node can use; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(_FILES_WANTED, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _FILES_WANTED if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def client_connections_max(files: int) -> int:
    """The connections that clients may have of ``files``: when they have more, idle ones are closed."""
    return max(files - _FILES_RESERVED, files // 4)
