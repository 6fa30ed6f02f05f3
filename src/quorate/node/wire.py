"""Every message that nodes exchange, with the numbers of its kind."""

from __future__ import annotations

from quorate.node.calls import CALL_KINDS
from quorate.node.forwarding import FORWARDING_KINDS
from quorate.node.snapshots.messages import SNAPSHOT_KINDS
from quorate.transport.codec import Codec

WIRE_CODEC = Codec().extended(FORWARDING_KINDS).extended(SNAPSHOT_KINDS).extended(CALL_KINDS)
