"""The error tree of the engine, and what each error lets the caller conclude.

::

    QuorateError
    ├── ConfigError                  a setting or declaration is wrong; nothing was started
    │   └── AddressUnavailable       the address to listen on cannot be had, perhaps only for now
    ├── StorageError
    │   ├── DataDirectoryLocked      another process uses the data directory
    │   ├── CorruptLog               a record that was durable can no longer be read
    │   └── StorageFailed            a write or fsync failed; the node must stop
    ├── TransportError
    │   ├── FrameError               a peer sent something that is not a frame of ours
    │   └── HandshakeRefused         the peer does not accept this node (or the other way round)
    ├── ProtocolViolation            a peer broke a rule that safety rests on; the node must stop
    ├── ProposalError                the command has no result to return
    │   ├── NotApplied               it is certain that the command has no effect: retry freely
    │   │   ├── NotLeader            ... this node does not lead; ``leader`` may say who does
    │   │   │   └── LeadershipMoving ... it is handing its leadership over: ask again in a moment
    │   │   ├── TransferFailed       ... the node that was to lead did not take over
    │   │   ├── MembershipConflict   ... another change of the membership is under way, or came first
    │   │   ├── ProposalDropped      ... too much is in flight, or the entry was overwritten
    │   │   ├── ProposalTooLarge     ... it will never fit; do not retry
    │   │   ├── NotRunEverywhere     ... its state machine is new, and some members do not run it yet
    │   │   └── NodeStopped          ... this node is not running
    │   └── OutcomeUnknown           the command may or may not take effect: retry with the same request id
    ├── CommandFailed                the command was applied and the state machine refused it
    │   └── RequestIdReused          ... its request id already belongs to another command
    ├── RemovedFromCluster           this node is no member any more, and must stop
    └── ReadUnavailable              a strong read could not be confirmed in time; nothing was read

Three outcomes of a write, and only three: it returns (applied), it raises :class:`NotApplied`
(definitely not applied), or it raises :class:`OutcomeUnknown`. :class:`CommandFailed` is an
applied command whose effect is a refusal. Rooms that refuse in words of their own derive from these:
:mod:`quorate.models.errors` draws the models' part.
"""

from __future__ import annotations


class QuorateError(Exception):
    """Base of every error raised by Quorate."""


class ConfigError(QuorateError):
    """A setting or a declaration is wrong. The message names it and says what is allowed."""


class AddressUnavailable(ConfigError):
    """The address to listen on cannot be had: it is no address of this machine, or another process has it for now."""


class StorageError(QuorateError):
    """The durable side cannot do what was asked."""


class DataDirectoryLocked(StorageError):
    """Another process holds the data directory's lock."""


class CorruptLog(StorageError):
    """A record that had been made durable cannot be read back.

    It is never cut away silently: entries behind it may have been acknowledged.
    """


class StorageFailed(StorageError):
    """A write or an fsync failed. What is on disk is unknown, so the node stops and never retries."""


class TransportError(QuorateError):
    """Two nodes cannot talk to each other."""


class FrameError(TransportError):
    """Bytes that are not a valid frame: the connection is closed."""


class HandshakeRefused(TransportError):
    """The handshake ended in a refusal. The message says why.

    ``code`` is a :class:`~quorate.transport.contract.RefusalCode`, or one that only a later version knows.
    """

    def __init__(self, message: str = "", code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class ProtocolViolation(QuorateError):
    """Something happened that no correct cluster can produce: two leaders in one term, a lost committed entry."""


class ProposalError(QuorateError):
    """A proposed command has no result to return."""


class NotApplied(ProposalError):
    """The command definitely has no effect, now or later. It is safe to propose it again."""


class NotLeader(NotApplied):
    """This node does not lead.

    ``leader`` is the id of the node believed to lead, or ``None`` while there is none.
    """

    def __init__(self, leader: int | None = None) -> None:
        super().__init__("there is no leader" if leader is None else f"node {leader} is the leader")
        self.leader = leader


class LeadershipMoving(NotLeader):
    """The leader takes nothing more, as it is handing its leadership over."""

    def __init__(self) -> None:
        super().__init__(None)
        self.args = ("the leadership is being handed over",)


class TransferFailed(NotApplied):
    """The node that the leadership was offered to did not take over in time; the old leader goes on."""


class MembershipConflict(NotApplied):
    """The configuration is not the one that the change was made for, or does not allow it at this moment.

    Also a transfer of the leadership that no member can take over.
    """


class ProposalDropped(NotApplied):
    """The proposal was refused for lack of room, or its log position went to another leader's entry."""


class ProposalTooLarge(NotApplied):
    """The command is larger than one log entry may be."""


class NotRunEverywhere(NotApplied):
    """A state machine is new in this cluster, and not every member has said that it runs it.

    Try again once all members run the newer program, or without those that do not.
    """


class NodeStopped(NotApplied):
    """The node is stopped or has failed."""


class OutcomeUnknown(ProposalError):
    """The command may have been applied, or may still be. Only a request id makes a retry safe."""


class CommandFailed(QuorateError):
    """The command reached the log and the state machine refused it; nothing changed.

    State machines raise it (or any of their own :class:`Exception`, which is wrapped in it).
    Every replica refuses the same command in the same way.
    """


class RequestIdReused(CommandFailed):
    """The request id was used before, for a different command."""


class RemovedFromCluster(QuorateError):
    """The other members have gone on without this node. Its data is of no more use to the cluster."""


class ReadUnavailable(QuorateError):
    """A strong read could not be confirmed in time (no leader, or no quorum answers)."""
