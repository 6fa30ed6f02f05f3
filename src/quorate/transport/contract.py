"""What a transport is: it carries messages between the nodes of a cluster, and promises little.

Guaranteed: a message arrives as it was sent or not at all, once at most, and behind those sent before it on the
same connection. Not guaranteed: that it arrives. The consensus above is built for that.

A connection is one-way. A node *dials* the addresses it wants to send to; what those nodes have to say comes over
the connections that they dial.

A link to a peer has two lanes (:class:`Lane`), with an order in each and none between them, so that what is large
never stands in the way of what is urgent. A link is up when its prompt lane is.

A node may be reached at two dialled addresses for a while, as when it moves from one to the other. What is sent
leaves over the link that came up last; the other is a spare, which takes over when the first is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass
from enum import Enum, IntEnum
from typing import Any, ClassVar, Protocol


class WireMessage(Protocol):
    """Any frozen dataclass that the transport's codec knows: the messages of the core, and a node's own."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a node says it is.

    ``address`` is the ``host:port`` where others reach it. ``incarnation`` is drawn at random by each process
    start (below 2**64), so that a restarted node can be told from the one before it. ``software`` is for people;
    ``schema`` is a digest of what the node's state machines understand, where they say so; ``machines`` are their
    names.
    """

    cluster_id: str
    node_id: int
    address: str
    incarnation: int
    software: str = ""
    schema: str = ""
    machines: tuple[str, ...] = ()


class Lane(Enum):
    """Which of a link's connections a message takes. The numbers are on the wire: never renumber, never reuse."""

    PROMPT = 0
    """For what is small or urgent. It is kept up as long as its address is dialled."""
    BULK = 1
    """For what is large and can be repeated, as pieces of a snapshot. Opened when it is used, closed when it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a node says about itself that changes while it runs; as of the moment of the handshake."""

    store: int = 0
    """64 bits that tell the contents of the data directory the node votes with from any other; 0: it does not say."""
    configuration_index: int = 0
    """The log index of the cluster configuration that the node goes by; 0 for the one it began with."""
    member: bool = True
    """False while it waits to be added to a cluster."""
    repairing: bool = False
    """True while it has lost what it promised, and waits for the cluster to take it in anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction(Identity):
    """A node that presented itself.

    ``dialled`` is the address at which we reached it, or ``None`` when it is the one that dialled us. It can
    differ from ``address``, which is what the node announces. ``lane`` is what the connection is for; the rest is
    the node's :class:`Announcement`.
    """

    dialled: str | None = None
    lane: Lane = Lane.PROMPT
    store: int = 0
    configuration_index: int = 0
    member: bool = True
    repairing: bool = False


class RefusalCode(IntEnum):
    """Why a handshake was refused, where the refused node can do something about it. The numbers are on the wire."""

    OTHER = 0
    NOT_A_MEMBER = 1
    """The cluster does not know the node."""
    REMOVED = 2
    """The node was a member, and is not any more."""
    OTHER_DATA = 3
    """The node comes without the data that it has voted with."""
    OTHER_CLUSTER = 4
    """The node that answers belongs to another cluster, and does not know that of the node it refuses."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """No; ``reason`` says why in words for people, ``code`` for programs."""

    reason: str
    code: RefusalCode = RefusalCode.OTHER


class LinkState(Enum):
    """Where the connection to a dialled address stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    REFUSED = "refused"
    """The handshake ended in a refusal. It is tried again: the reason may go away."""
    OURSELVES = "ourselves"
    """The address is our own. It is not dialled again."""


@dataclass(slots=True)
class LinkStatus:
    """A dialled address: its state, the node found there last, and why it is not connected."""

    address: str
    state: LinkState = LinkState.CONNECTING
    peer: int | None = None
    last_error: str | None = None


@dataclass(slots=True)
class PeerStats:
    """What went to and came from a peer since the transport was made.

    ``connected`` says whether what we send can leave now. ``dropped`` counts messages that we gave up on: no
    connection, a full queue, a message beyond the frame limit, an injected fault.
    """

    connected: bool = False
    frames_sent: int = 0
    bytes_sent: int = 0
    frames_received: int = 0
    bytes_received: int = 0
    dropped: int = 0
    connections: int = 0
    """How often a connection to it came up that we send over."""
    losses: int = 0
    """How often such a one was lost."""
    last_error: str | None = None


class Receiver(Protocol):
    """The node, as its transport sees it.

    Calls come one at a time, from the event loop, never from inside a call to the transport, and none after
    ``stop`` has returned. They must return soon: while one runs, nothing else does.
    """

    def received(self, peer: int, group: int, message: WireMessage) -> None:
        """``peer`` sent ``message`` to our replica of ``group``."""

    def receiving(self, peer: int) -> None:
        """A long message of ``peer`` is arriving, and may take a while: what it sent behind that comes only then."""

    def connected(self, peer: int) -> None:
        """The first link to ``peer`` is up: what is sent from now on may arrive."""

    def disconnected(self, peer: int) -> None:
        """The last link to ``peer`` went down; what was in flight may be lost."""

    def announcement(self) -> Announcement:
        """What we say about ourselves at this moment. Asked for each handshake, whoever dialled."""

    def introduced(self, introduction: Introduction) -> Refusal | None:
        """A node presented itself: return ``None`` to accept it, or the refusal.

        Called for every connection, whoever dialled, bulk lanes included. Here a node learns which id lives at an
        address, and refuses strangers, an id that changed at an address, or an id claimed by two addresses.
        """

    def refused(self, address: str, refusal: Refusal) -> None:
        """The node at the dialled ``address`` refused us. Told each time; the address is tried again until hung up."""


class Transport(Protocol):
    """Carries messages to the peers whose addresses it was told to dial."""

    @property
    def identity(self) -> Identity:
        """Who we say we are."""

    async def start(self, receiver: Receiver) -> None:
        """Begin to dial and to accept. Called once."""

    def dial(self, address: str) -> None:
        """Keep a connection to ``address`` from now on, through failures. Idempotent; allowed before ``start``.

        Raises :class:`~quorate.errors.ConfigError` if ``address`` cannot be one.
        """

    def hang_up(self, address: str) -> None:
        """Give up the link to ``address``, both lanes. Idempotent; at once nothing more is sent over it."""

    def send(self, peer: int, group: int, messages: Sequence[WireMessage], *, lane: Lane = Lane.PROMPT) -> None:
        """Send ``messages`` to ``peer``'s replica of ``group``, in the order of ``lane``.

        Never blocks, and never raises because of the network: what cannot be sent is dropped and counted. So is
        what opens a bulk lane that was closed: who sends there repeats what is not answered.
        """

    def backlog_bytes(self, peer: int, lane: Lane) -> int:
        """How much of what was sent to ``peer`` still waits to leave; 0 without a connection.

        Who sends more than a little at a time sends only while this is below a bound of its own.
        """

    def stats(self) -> Mapping[int, PeerStats]:
        """Counters per peer id; live objects, not to be changed."""

    def links(self) -> Mapping[str, LinkStatus]:
        """The dialled addresses; live objects, not to be changed."""

    async def stop(self) -> None:
        """Close every connection and release every resource. Idempotent, and final."""
