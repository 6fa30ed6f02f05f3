"""Run as a script: ``python tether.py PARENT_PID ARGUMENTS…`` becomes ``python ARGUMENTS…``, but dies with its parent.

On Linux the kernel is asked to kill the process as soon as the parent ends, however it ends. Elsewhere there is no
such thing, and a parent that is killed by force leaves its nodes behind. Imports nothing of ours: it must be cheap.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become another program. The tie survives ``exec`` (prctl(2))."""
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the tie was made
            sys.exit(1)
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])


if __name__ == "__main__":
    main()
