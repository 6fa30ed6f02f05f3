"""How a peer connection opens: a fixed preface, a hello, and an answer.

The dialling side sends :data:`PREFACE` and a frame with :class:`Hello`; the accepting side answers with one frame,
:class:`Welcome` or :class:`Refused`, the last one it ever sends on this connection. The preface's first byte is
neither ASCII nor the start of a TLS record, so that a port shared with text protocols can tell peers apart.

Hello and answer are msgpack arrays like all bodies, but open-ended: a later version may append fields, and an
earlier one must still understand enough to refuse politely.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from quorate.errors import FrameError, HandshakeRefused
from quorate.transport.contract import Identity, Introduction, Receiver
from quorate.transport.framing import encode_frame

PREFACE = b"\xf5QUORATE"
"""The first eight bytes of every peer connection."""

VERSIONS = (1, 1)
"""The lowest and the highest version of the protocol that this code speaks."""

HANDSHAKE_BYTES_MAX = 64 * 1024
"""The limit on a frame until the handshake is over."""

_Version = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_Unsigned = Annotated[int, msgspec.Meta(ge=0)]
_Name = Annotated[str, msgspec.Meta(max_length=256)]
_REASON_CHARACTERS_MAX = 1024


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1, kw_only=True):
    """The dialling node, and the versions it speaks."""

    version_min: _Version
    version_max: _Version
    cluster_id: _Name
    node_id: _Unsigned
    address: _Name
    incarnation: _Unsigned
    software: _Name
    schema: _Name = ""


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=2, kw_only=True):
    """The accepting node, and the version it chose."""

    version: _Version
    node_id: _Unsigned
    address: _Name
    incarnation: _Unsigned
    software: _Name
    schema: _Name = ""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=3, kw_only=True):
    """No; and why, in words for the log."""

    reason: Annotated[str, msgspec.Meta(max_length=_REASON_CHARACTERS_MAX)]


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Hello | Welcome | Refused] = msgspec.msgpack.Decoder(Hello | Welcome | Refused)


def hello_from(identity: Identity, versions: tuple[int, int] = VERSIONS) -> Hello:
    """How the node ``identity`` presents itself."""
    return Hello(
        version_min=versions[0],
        version_max=versions[1],
        cluster_id=identity.cluster_id,
        node_id=identity.node_id,
        address=identity.address,
        incarnation=identity.incarnation,
        software=identity.software,
        schema=identity.schema,
    )


def welcome_from(identity: Identity, version: int) -> Welcome:
    """How the node ``identity`` accepts a hello."""
    return Welcome(
        version=version,
        node_id=identity.node_id,
        address=identity.address,
        incarnation=identity.incarnation,
        software=identity.software,
        schema=identity.schema,
    )


def refusal(reason: str) -> Refused:
    """A refusal whose reason fits into its frame."""
    return Refused(reason=reason[:_REASON_CHARACTERS_MAX])


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
            f"node {hello.node_id} at {hello.address} has the address of another cluster's node"
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


def introduce(receiver: Receiver, identity: Identity, peer: Hello | Welcome, dialled: str | None) -> None:
    """Present ``peer`` to the receiver of the node ``identity``; :class:`HandshakeRefused` if it is turned away."""
    reason = receiver.introduced(
        Introduction(
            cluster_id=identity.cluster_id,  # the handshake has made sure that they are the same
            node_id=peer.node_id,
            address=peer.address,
            incarnation=peer.incarnation,
            software=peer.software,
            schema=peer.schema,
            dialled=dialled,
        )
    )
    if reason is not None:
        raise HandshakeRefused(reason)


def _refuse_twin(identity: Identity, peer: Hello | Welcome) -> None:
    if peer.node_id == identity.node_id and not is_ourselves(identity, peer):
        raise HandshakeRefused(
            f"two nodes are configured with id {identity.node_id}: {identity.address} and {peer.address}"
        )
