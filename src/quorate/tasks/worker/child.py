"""A process that does one job after the other, and can be killed in the middle of one: ``main()`` of it.

It ends with its worker, however that ends: then the socket between them closes, which a thread waits for.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from functools import cache, reduce
from queue import SimpleQueue
from types import ModuleType
from typing import Any, NoReturn

from quorate.tasks.commands import Spec
from quorate.tasks.declaration import TaskType
from quorate.tasks.gateways import Gateways
from quorate.tasks.worker.calling import call_sync
from quorate.tasks.worker.frames import LENGTH, READY, Place, Work, decode_place, decode_work, encode, framed
from quorate.tasks.worker.outcomes import Outcome, failure_of


def main() -> None:
    """Serve until the worker hangs up."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the worker to say who stops when
    works: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(connection, works), daemon=True).start()
    _prepare(decode_place(works.get()))
    connection.sendall(framed(READY))
    while True:
        outcome = _do(decode_work(works.get()))
        try:
            connection.sendall(framed(encode(outcome)))
        except OSError:
            _end()


def _read(connection: socket.socket, works: SimpleQueue[bytes]) -> None:
    stream = connection.makefile("rb")
    while len(head := stream.read(LENGTH.size)) == LENGTH.size:
        works.put(stream.read(*LENGTH.unpack(head)))
    _end()


def _end() -> NoReturn:
    """With all that jobs have started: the worker has put it into a group of its own."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)


def _prepare(place: Place) -> None:
    """What is wrong with the module, the first job tells."""
    with suppress(BaseException):
        _module(place)


def _do(work: Work) -> Outcome:
    try:
        task_type = _find(work.place, work.job.type)
    except BaseException as error:
        return failure_of(error)
    return call_sync(task_type, work.job, work.payload)


@cache
def _find(place: Place, name: str) -> TaskType[..., Any, Any]:
    found: Any = reduce(getattr, place.qualname.split("."), _module(place))
    if isinstance(found, TaskType):
        return found
    bare = Spec("default", name)
    return TaskType(found, Gateways(), name, bare, {})


def _module(place: Place) -> ModuleType:
    return _load(place.file) if place.file is not None else importlib.import_module(place.module)


@cache
def _load(file: str) -> ModuleType:
    """The program that the worker runs in, but not as the program."""
    spec = importlib.util.spec_from_file_location("__quorate_main__", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
