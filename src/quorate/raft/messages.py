"""What nodes say to each other about consensus. Frozen values; how they travel is the transport's matter.

Every message names its sender's ``term``. Replies echo what they answer (term, session, sequence), so that a
late, repeated or reordered one can be told from the one awaited. ``session`` numbers the leader's replication to
one peer within a term.
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate.raft.entry import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVote:
    """Ask for a vote (§5.2), or with ``pre_vote`` whether one would be given (thesis §9.6).

    A pre-vote carries the term the sender *would* campaign in and changes nobody's state. With ``transfer`` the
    leader itself has asked the sender to campaign, so nobody needs to protect that leader (thesis §4.2.3).
    """

    term: int
    last_index: int
    last_term: int
    pre_vote: bool = False
    transfer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVoteReply:
    """``granted`` answers the (pre-)vote of ``term``; a refusal carries the voter's own term."""

    term: int
    granted: bool
    pre_vote: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendEntries:
    """Replicate ``entries`` behind (``previous_index``, ``previous_term``) and tell the commit index (§5.3).

    To a ``witness``, as the receiver is to the leader, entries come without their commands.
    """

    term: int
    session: int
    previous_index: int
    previous_term: int
    commit: int
    entries: tuple[Entry, ...] = ()
    witness: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendEntriesReply:
    """The log matches the leader's, durably, up to ``match_index``; or it does not (``rejected``).

    A rejection echoes ``previous_index`` and hints where logs may agree: the follower's log holds no entry of
    a term above ``hint_term`` at or below ``hint_index`` (§5.3, last paragraphs). What a ``repairing`` node says
    counts for no quorum: it may have promised something else before it lost its data.
    """

    term: int
    session: int
    match_index: int
    rejected: bool = False
    previous_index: int = 0
    hint_index: int = 0
    hint_term: int = 0
    repairing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Leadership is alive. ``sequence`` orders rounds: their echo confirms reads and leases (§6.4)."""

    term: int
    session: int
    sequence: int
    commit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatReply:
    """The sender still follows the leader of ``term`` and had received round ``sequence``; with 0, none that is new.

    ``repairing`` is that of :class:`AppendEntriesReply`.
    """

    term: int
    session: int
    sequence: int
    repairing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutNow:
    """The leader of ``term`` hands its office over: campaign at once (thesis §3.10)."""

    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadIndex:
    """A follower asks the leader for a read index; no process of that follower ever uses ``token`` twice."""

    term: int
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadIndexReply:
    """The read ``token`` may be answered once ``index`` is applied; ``index`` 0 means: not by me, ask again."""

    term: int
    token: int
    index: int


Message = (
    RequestVote
    | RequestVoteReply
    | AppendEntries
    | AppendEntriesReply
    | Heartbeat
    | HeartbeatReply
    | TimeoutNow
    | ReadIndex
    | ReadIndexReply
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with the node it comes from or goes to (``peer``)."""

    peer: int
    message: Message
