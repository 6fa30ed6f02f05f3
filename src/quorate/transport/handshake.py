"""How a peer connection opens: a fixed preface, a hello, and an answer.

The dialling side sends :data:`PREFACE` and a frame with :class:`Hello`; the accepting side answers with one frame,
:class:`Welcome` or :class:`Refused`, the last one it ever sends on this connection. The preface's first byte is
neither ASCII nor the start of a TLS record, so that a port shared with text protocols can tell peers apart.

Hello and answer are msgpack arrays like all bodies, but open-ended: a later version may append fields, and an
earlier one must still understand enough to refuse politely. What is not there has its default: a node that says
nothing of lanes keeps none apart, and must not be dialled for a bulk lane, for it would take that connection for
the prompt one come back.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from quorate.errors import FrameError, HandshakeRefused
from quorate.transport.contract import (
    Announcement,
    Identity,
    Introduction,
    Lane,
    Receiver,
    Refusal,
    RefusalCode,
)
from quorate.transport.framing import encode_frame

PREFACE = b"\xf5QUORATE"
"""The first eight bytes of every peer connection."""

WEBSOCKET_PATH = "/raft"
"""What peers ask for when they open a WebSocket, inside of which the connection then is."""

WEBSOCKET_FIRST_BYTE = b"G"
"""What that request begins with, for it is a GET; the preface begins otherwise."""

VERSIONS = (1, 1)
"""The lowest and the highest version of the protocol that this code speaks."""

HANDSHAKE_BYTES_MAX = 64 * 1024
"""The limit on a frame until the handshake is over."""

_Version = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_Unsigned = Annotated[int, msgspec.Meta(ge=0)]
_NAME_CHARACTERS_MAX = 256
_REASON_CHARACTERS_MAX = 1024
_Name = Annotated[str, msgspec.Meta(max_length=_NAME_CHARACTERS_MAX)]
_MACHINES_MAX = 64
_Machines = Annotated[tuple[_Name, ...], msgspec.Meta(max_length=_MACHINES_MAX)]


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1, kw_only=True):
    """The dialling node, the versions it speaks, and what the connection is for.

    ``lane`` is the number of a :class:`~quorate.transport.contract.Lane`. ``dialled`` is the address that led here:
    of two connections from one process, for one lane and over one address, the second has replaced the first.
    """

    version_min: _Version
    version_max: _Version
    cluster_id: _Name
    node_id: _Unsigned
    address: _Name
    incarnation: _Unsigned
    software: _Name
    schema: _Name = ""
    lane: _Unsigned = Lane.PROMPT.value
    dialled: _Name = ""
    store: _Unsigned = 0
    configuration_index: _Unsigned = 0
    member: bool = True
    repairing: bool = False
    machines: _Machines = ()


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=2, kw_only=True):
    """The accepting node, the version it chose, and how many lanes it keeps apart."""

    version: _Version
    node_id: _Unsigned
    address: _Name
    incarnation: _Unsigned
    software: _Name
    schema: _Name = ""
    lanes: _Unsigned = 1
    store: _Unsigned = 0
    configuration_index: _Unsigned = 0
    member: bool = True
    repairing: bool = False
    machines: _Machines = ()


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=3, kw_only=True):
    """No; and why, in words for the log and as a number for programs."""

    reason: Annotated[str, msgspec.Meta(max_length=_REASON_CHARACTERS_MAX)]
    code: _Unsigned = RefusalCode.OTHER.value


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Hello | Welcome | Refused] = msgspec.msgpack.Decoder(Hello | Welcome | Refused)


def hello_from(
    identity: Identity,
    versions: tuple[int, int] = VERSIONS,
    announcement: Announcement | None = None,
    *,
    lane: Lane = Lane.PROMPT,
    dialled: str = "",
) -> Hello:
    """How the node ``identity`` presents itself."""
    announced = announcement or Announcement()
    return Hello(
        version_min=versions[0],
        version_max=versions[1],
        cluster_id=identity.cluster_id,
        node_id=identity.node_id,
        address=identity.address,
        incarnation=identity.incarnation,
        software=identity.software,
        schema=identity.schema,
        lane=lane.value,
        dialled=dialled[:_NAME_CHARACTERS_MAX],
        store=announced.store,
        configuration_index=announced.configuration_index,
        member=announced.member,
        repairing=announced.repairing,
        machines=identity.machines,
    )


def welcome_from(identity: Identity, version: int, announcement: Announcement | None = None) -> Welcome:
    """How the node ``identity`` accepts a hello."""
    announced = announcement or Announcement()
    return Welcome(
        version=version,
        node_id=identity.node_id,
        address=identity.address,
        incarnation=identity.incarnation,
        software=identity.software,
        schema=identity.schema,
        lanes=len(Lane),
        store=announced.store,
        configuration_index=announced.configuration_index,
        member=announced.member,
        repairing=announced.repairing,
        machines=identity.machines,
    )


def refusal(reason: str, code: int = RefusalCode.OTHER) -> Refused:
    """A refusal whose reason fits into its frame."""
    return Refused(reason=reason[:_REASON_CHARACTERS_MAX], code=code)


def refusal_in(error: HandshakeRefused) -> Refusal:
    """What a refusal says; a code that we do not know is :attr:`RefusalCode.OTHER`."""
    try:
        code = RefusalCode(error.code)
    except ValueError:
        code = RefusalCode.OTHER
    return Refusal(str(error), code)


def lane_of(hello: Hello) -> Lane:
    """What the connection is for; :class:`HandshakeRefused` if we do not know such a lane."""
    try:
        return Lane(hello.lane)
    except ValueError:
        raise HandshakeRefused(f"a connection for lane {hello.lane}; known are 0 to {len(Lane) - 1}") from None


def encode_handshake(part: Hello | Welcome | Refused) -> bytes:
    """The frame that carries a part of the handshake."""
    return encode_frame(_encoder.encode(part))


def decode_handshake(body: bytes) -> Hello | Welcome | Refused:
    """The part of the handshake in a frame's body. Raises :class:`FrameError` if it is none."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FrameError(f"not a handshake: {error}") from None


def is_ourselves(identity: Identity, peer: Hello | Welcome) -> bool:
    """Whether ``peer`` is this very process: only it knows our incarnation."""
    return peer.node_id == identity.node_id and peer.incarnation == identity.incarnation


def choose_version(identity: Identity, hello: Hello, versions: tuple[int, int] = VERSIONS) -> int:
    """The version to speak with the sender of ``hello``; raises :class:`HandshakeRefused` to turn it away."""
    if hello.cluster_id != identity.cluster_id:
        raise HandshakeRefused(
            f"this is cluster {identity.cluster_id!r}, not {hello.cluster_id!r}; "
            f"node {hello.node_id} at {hello.address} has the address of another cluster's node",
            RefusalCode.OTHER_CLUSTER,
        )
    low, high = max(versions[0], hello.version_min), min(versions[1], hello.version_max)
    if low > high:
        raise HandshakeRefused(
            f"no common protocol version: node {identity.node_id} speaks {versions[0]} to {versions[1]}, "
            f"node {hello.node_id} speaks {hello.version_min} to {hello.version_max}"
        )
    _refuse_twin(identity, hello)
    return high


def check_welcome(identity: Identity, welcome: Welcome, versions: tuple[int, int] = VERSIONS) -> None:
    """Raise :class:`HandshakeRefused` if we cannot speak with the sender of ``welcome``."""
    if not versions[0] <= welcome.version <= versions[1]:
        raise HandshakeRefused(f"node {welcome.node_id} chose protocol version {welcome.version}")
    _refuse_twin(identity, welcome)


def introduce(
    receiver: Receiver, identity: Identity, peer: Hello | Welcome, dialled: str | None, lane: Lane = Lane.PROMPT
) -> None:
    """Present ``peer`` to the receiver of the node ``identity``; :class:`HandshakeRefused` if it is turned away."""
    answer = receiver.introduced(
        Introduction(
            cluster_id=identity.cluster_id,  # the handshake has made sure that they are the same
            node_id=peer.node_id,
            address=peer.address,
            incarnation=peer.incarnation,
            software=peer.software,
            schema=peer.schema,
            machines=peer.machines,
            dialled=dialled,
            lane=lane,
            store=peer.store,
            configuration_index=peer.configuration_index,
            member=peer.member,
            repairing=peer.repairing,
        )
    )
    if answer is not None:
        raise HandshakeRefused(answer.reason, answer.code)


def _refuse_twin(identity: Identity, peer: Hello | Welcome) -> None:
    if peer.node_id == identity.node_id and not is_ourselves(identity, peer):
        raise HandshakeRefused(
            f"two nodes are configured with id {identity.node_id}: {identity.address} and {peer.address}"
        )
