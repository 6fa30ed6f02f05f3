"""What every peer connection's socket wants, and what an address is to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

from quorate.errors import ConfigError

_KEEPALIVE = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))  # seconds, seconds, probes


def split_address(address: str) -> tuple[str, int]:
    """The host and port of ``host:port`` or ``[v6]:port``, to be connected to; :class:`ConfigError` for anything else.

    What people write of peers, with ids and defaults, is :func:`quorate.config.parse_peer`'s business.
    """
    host, colon, port = address.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"{address!r} is not an address: host:port is, with a port from 1 to 65535")
    return host, int(port)


def remote_address(transport: asyncio.BaseTransport) -> tuple[str, int]:
    """The host and port that a connection comes from, for the log."""
    name = transport.get_extra_info("peername")
    return (name[0], name[1]) if isinstance(name, tuple) else (str(name or "nowhere"), 0)


def tune(connection: asyncio.BaseTransport | socket.socket, unacknowledged_seconds_max: float) -> None:
    """Send small frames at once, and notice a peer that vanished without closing (RFC 5482 where there is it).

    What a listening socket is given, the connections that it accepts have, too.
    """
    sock = connection if isinstance(connection, socket.socket) else connection.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError):  # the connection may be gone already, which its protocol learns in its turn
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (*_KEEPALIVE, ("TCP_USER_TIMEOUT", round(unacknowledged_seconds_max * 1000))):
            if (option := getattr(socket, name, None)) is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def describe(error: BaseException) -> str:
    """A short reason, the same each time for the same cause, so that logs can leave out repetitions."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return "no answer in time"
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)  # strerror as raised names the address, in words that differ by loop
    return str(error) or type(error).__name__
