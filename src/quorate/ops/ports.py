"""Finding TCP ports on this machine."""

from __future__ import annotations

import socket
from random import Random

from quorate.errors import AddressUnavailable, ConfigError

_LOWEST, _HIGHEST = 10_000, 32_000
"""Below the range from which systems take the ports of outgoing connections, so that a free port stays free."""


def check_port_free(host: str, port: int) -> None:
    """Raises :class:`ConfigError` if nothing could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AddressUnavailable(f"cannot listen on {host}:{port}: {error.strerror}") from error


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """``count`` ports in a row on which nothing listens."""
    rng = Random()
    for _ in range(1000):
        first = rng.randrange(_LOWEST, _HIGHEST - count)
        ports = list(range(first, first + count))
        try:
            for port in ports:
                check_port_free(host, port)
        except ConfigError:
            continue
        return ports
    raise ConfigError(f"there are no {count} free ports in a row on {host}")
