"""Which pages in a browser may speak with this node: those that a member of its cluster has served.

A browser says in ``Origin`` where the page comes from that sends a request (RFC 6454 §7). Programs say nothing there.
"""

from __future__ import annotations

from collections.abc import Iterable

from quorate.node.node import Node
from quorate.rest.http import Headers

_PORTS = {"http": "80", "https": "443"}


def header(headers: Headers, name: bytes) -> str | None:
    """The first header of that name."""
    return next((value.decode("latin-1") for each, value in headers if each == name), None)


def addresses_of(node: Node) -> set[str]:
    """Where the members are reached, as far as this node knows; its own address included."""
    status = node.status
    known = [peer.address for peer in status.peers]
    if status.membership is not None:
        known += [member.address for member in status.membership.members]
    return {status.address, *known}


def is_of_members(origin: str, host: str | None, addresses: Iterable[str]) -> bool:
    """Whether a page of this ``origin`` was served by a member: at its address, or where this request went to.

    One machine has several names, and a page was opened under one of them: ``host``, the name under which this node
    was asked, with the port of any member is as good as their addresses.
    """
    scheme, _, authority = origin.lower().partition("://")
    if scheme not in _PORTS or not authority:
        return False
    if host is not None and authority == host.lower():
        return True
    name, port = _split(authority, _PORTS[scheme])
    known = [_split(address.lower(), "") for address in addresses]
    if (name, port) in known:
        return True
    return host is not None and name == _split(host.lower(), "")[0] and any(port == each for _, each in known)


def _split(authority: str, port: str) -> tuple[str, str]:
    """(name, port); an address of IPv6 stands in brackets."""
    name, colon, given = authority.rpartition(":")
    return (name, given) if colon and not given.endswith("]") else (authority, port)
