"""Which pages in a browser may speak with this node: those that a member of its cluster has served.

A browser says in ``Origin`` where the page comes from that sends a request (RFC 6454 §7). Programs say nothing there.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from ipaddress import ip_address
from socket import gethostname

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
    was asked, with the port of any member is as good as their addresses. But a stranger can let a name of his point
    here, and his page is at home under it (DNS rebinding): so the name must be one that no stranger can own.
    """
    scheme, _, authority = origin.lower().partition("://")
    if scheme not in _PORTS or not authority:
        return False
    name, port = _split(authority, _PORTS[scheme])
    known = [_split(address.lower(), "") for address in addresses]
    if (name, port) in known:
        return True
    if host is None or not _is_at_home(name, {each for each, _ in known}):
        return False
    if authority == host.lower():
        return True
    return name == _split(host.lower(), "")[0] and any(port == each for _, each in known)


def _is_at_home(name: str, members: Container[str]) -> bool:
    """Whether a name can only be that of a machine here: in the public DNS its owner decides where it points."""
    return name in members or "." not in name or name == gethostname().lower() or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _split(authority: str, port: str) -> tuple[str, str]:
    """(name, port); an address of IPv6 stands in brackets."""
    name, colon, given = authority.rpartition(":")
    return (name, given) if colon and not given.endswith("]") else (authority, port)
