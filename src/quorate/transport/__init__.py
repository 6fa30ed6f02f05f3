"""How messages travel between nodes: the contract, and its implementations in memory and over TCP, in WebSockets
or not."""

from quorate.transport.codec import NODE_KINDS_MIN, RAFT_KINDS, Codec
from quorate.transport.contract import (
    Announcement,
    Identity,
    Introduction,
    Lane,
    LinkState,
    LinkStatus,
    PeerStats,
    Receiver,
    Refusal,
    RefusalCode,
    Transport,
    WireMessage,
)
from quorate.transport.faults import Direction, LinkFaults
from quorate.transport.handshake import PREFACE
from quorate.transport.memory import MemoryTransport
from quorate.transport.memory_network import MemoryNetwork
from quorate.transport.options import TcpOptions
from quorate.transport.tcp import TcpTransport

__all__ = [
    "NODE_KINDS_MIN",
    "PREFACE",
    "RAFT_KINDS",
    "Announcement",
    "Codec",
    "Direction",
    "Identity",
    "Introduction",
    "Lane",
    "LinkFaults",
    "LinkState",
    "LinkStatus",
    "MemoryNetwork",
    "MemoryTransport",
    "PeerStats",
    "Receiver",
    "Refusal",
    "RefusalCode",
    "TcpOptions",
    "TcpTransport",
    "Transport",
    "WireMessage",
]
