"""What a worker and its processes say to each other: frames of MessagePack, each behind its length."""

from __future__ import annotations

import struct

import msgspec

from quorate.tasks.worker.job import Job
from quorate.tasks.worker.outcomes import Done, Failure

LENGTH = struct.Struct("!I")
READY = b"ready"
"""The first frame of a process, behind a place that it is told: it has imported that, and waits for work."""


class Place(msgspec.Struct, frozen=True):
    """Where a program can find a function: in a module that can be imported, or else in the file of one."""

    module: str
    file: str | None
    qualname: str


class Work(msgspec.Struct):
    """One job. ``payload`` is JSON."""

    place: Place
    job: Job
    payload: bytes


encode = msgspec.msgpack.Encoder().encode
decode_place = msgspec.msgpack.Decoder(Place).decode
decode_work = msgspec.msgpack.Decoder(Work).decode
decode_outcome = msgspec.msgpack.Decoder(Done | Failure).decode


def framed(message: bytes) -> bytes:
    """With its length."""
    return LENGTH.pack(len(message)) + message
