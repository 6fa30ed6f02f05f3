"""Ports that a node listens on."""

from __future__ import annotations

import socket

from quorate.errors import AddressUnavailable

BACKLOG = 1024


def listen_on(host: str, port: int, flag: str) -> socket.socket:
    """A listening socket. Raises :class:`AddressUnavailable`, which names the ``flag``, if the port cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressUnavailable(f"cannot listen on {host}:{port}: {error.strerror}; choose another {flag}") from error
    listener.setblocking(False)
    return listener
