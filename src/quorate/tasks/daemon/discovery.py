"""Nodes that are found by a DNS name: that of a headless service, whose addresses are those of its nodes."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

from quorate.errors import ConfigError

log = logging.getLogger(__name__)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses (``host:port``) of a name and a port. Raises :class:`OSError`."""
Identify = Callable[[str], Awaitable[int | None]]
"""The id of the node at an address, if it waits to be added to a cluster."""

STATUS_SECONDS = 2.0
STATUS_BYTES_MAX = 1 << 20


async def resolve(name: str, port: int) -> Sequence[str]:
    """As the system does it."""
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    hosts = {str(address[0]): family for family, _, _, _, address in found}
    return sorted(
        f"[{host}]:{port}" if family is socket.AF_INET6 else f"{host}:{port}" for host, family in hosts.items()
    )


async def identify(address: str) -> int | None:
    """By what the node says at ``/status``, as those that ``quorate node --join`` starts do."""
    return await asyncio.to_thread(_identify, address)


def _identify(address: str) -> int | None:
    connection = http.client.HTTPConnection(address, timeout=STATUS_SECONDS)
    try:
        connection.request("GET", "/status")
        report = json.loads(connection.getresponse().read(STATUS_BYTES_MAX))
        waits = report["membership"] is None or report["member_role"] is None
        return int(report["node_id"]) if waits else None
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        log.debug("%s did not say what node it is: %s", address, error)
        return None
    finally:
        connection.close()


class Discovery:
    """A name to look up from time to time. ``resolve`` and ``identify`` are ports."""

    def __init__(self, name: str, port: int, *, resolve: Resolve = resolve, identify: Identify = identify) -> None:
        if not name or not 0 < port < 65536:
            raise ConfigError(f"nodes are found by a name and a port from 1 to 65535, not {name!r} and {port}")
        self.name = name
        self.port = port
        self._resolve = resolve
        self._identify = identify

    @classmethod
    def of(cls, text: str) -> Discovery:
        """Of ``name:port``. Raises :class:`ConfigError`."""
        name, _, port = text.rpartition(":")
        if not port.isdigit():
            raise ConfigError(f"{text!r} should be a name with a port, as in peers.example:7000")
        return cls(name, int(port))

    async def addresses(self) -> Sequence[str]:
        """All of them; none while the name cannot be looked up, which is logged."""
        try:
            return await self._resolve(self.name, self.port)
        except OSError as error:
            log.warning("the name %s cannot be looked up: %s", self.name, error)
            return ()

    async def cluster_nodes(self, address: str) -> tuple[str, ...]:
        """What :class:`~quorate.config.RaftConfig` takes as ``cluster_nodes``, for a cluster that begins.

        ``address`` is this node's own, as ``id@host:port``. The others' ids are learned when they are met.
        """
        own = address.rpartition("@")[2]
        return (address, *(other for other in await self.addresses() if other != own))

    async def waiting_at(self, address: str) -> int | None:
        """The id of the node there, if it waits to be added."""
        return await self._identify(address)
