"""Commands on ranges of sorted sets: by rank, by score, by member."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from quorate.kv.arguments import integer, keyword, syntax_error
from quorate.kv.commands.options import store
from quorate.kv.commands.ranges import Range, Selection, lex_range, rank_range, score_range
from quorate.kv.commands.sorted_sets import remove
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import Arguments, Keys, command
from quorate.kv.replies import CommandError, Pairs, Reply
from quorate.kv.values import SortedSet

LIMIT_BY_RANK = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
SCORES_BY_LEX = "ERR syntax error, WITHSCORES not supported in combination with BYLEX"

MakeRange = Callable[[bytes, bytes], Range]
_KINDS: dict[bytes, MakeRange] = {b"BYSCORE": score_range, b"BYLEX": lex_range}


class _Form(msgspec.Struct):
    """The options of one ZRANGE or of one of its older forms, which have theirs in their names.

    ``kind`` and ``backwards`` are ``None`` where the arguments may still say.
    """

    kind: MakeRange | None = None
    backwards: bool | None = None
    with_scores: bool = False
    offset: int = 0
    count: int = -1

    def read(self, options: Arguments, *, stores: bool) -> None:
        """Take in what follows the bounds. Raises on what does not belong there."""
        rest = deque(options)
        while rest:
            option = keyword(rest.popleft())
            if option == b"WITHSCORES" and not stores:
                self.with_scores = True
            elif option == b"LIMIT" and len(rest) >= 2:
                self.offset, self.count = integer(rest.popleft()), integer(rest.popleft())
            elif option == b"REV" and self.backwards is None:
                self.backwards = True
            elif option in _KINDS and self.kind is None:
                self.kind = _KINDS[option]
            else:
                raise syntax_error()

    def selection(self, first: bytes, second: bytes) -> Selection:
        """What these bounds select. Raises if they cannot."""
        kind = self.kind or rank_range
        if kind is rank_range:
            if self.count != -1:
                raise CommandError(LIMIT_BY_RANK)
            self.offset = 0
        if self.with_scores and kind is lex_range:
            raise CommandError(SCORES_BY_LEX)
        backwards = bool(self.backwards)
        low, high = (second, first) if backwards and kind is not rank_range else (first, second)
        return Selection(kind(low, high), backwards, self.offset, self.count)


_FORMS: dict[bytes, tuple[MakeRange | None, bool | None]] = {
    b"ZRANGE": (None, None),
    b"ZRANGESTORE": (None, None),
    b"ZREVRANGE": (rank_range, True),
    b"ZRANGEBYSCORE": (score_range, False),
    b"ZREVRANGEBYSCORE": (score_range, True),
    b"ZRANGEBYLEX": (lex_range, False),
    b"ZREVRANGEBYLEX": (lex_range, True),
}


def _selection(arguments: Arguments) -> tuple[Selection, bool]:
    stores = arguments[0] == b"ZRANGESTORE"
    bounds = 2 + stores
    form = _Form(*_FORMS[arguments[0]])
    form.read(arguments[bounds + 2 :], stores=stores)
    return form.selection(arguments[bounds], arguments[bounds + 1]), form.with_scores


def _range(db: Keyspace, arguments: Arguments) -> Reply:
    selection, with_scores = _selection(arguments)
    selected = selection.of(db.get(arguments[1], SortedSet))
    return Pairs((member, score) for score, member in selected) if with_scores else [member for _, member in selected]


@command("ZRANGE", -4, group="sorted-set", check=_selection)
def zrange(db: Keyspace, arguments: Arguments) -> Reply:
    """The members in a range of ranks, scores or members."""
    return _range(db, arguments)


@command("ZREVRANGE", -4, group="sorted-set", check=_selection)
def zrevrange(db: Keyspace, arguments: Arguments) -> Reply:
    """The members in a range of ranks, from the highest score."""
    return _range(db, arguments)


@command("ZRANGEBYSCORE", -4, group="sorted-set", check=_selection)
def zrangebyscore(db: Keyspace, arguments: Arguments) -> Reply:
    """The members in a range of scores."""
    return _range(db, arguments)


@command("ZREVRANGEBYSCORE", -4, group="sorted-set", check=_selection)
def zrevrangebyscore(db: Keyspace, arguments: Arguments) -> Reply:
    """The members in a range of scores, from the highest."""
    return _range(db, arguments)


@command("ZRANGEBYLEX", -4, group="sorted-set", check=_selection)
def zrangebylex(db: Keyspace, arguments: Arguments) -> Reply:
    """The members in a range of members, where all scores are equal."""
    return _range(db, arguments)


@command("ZREVRANGEBYLEX", -4, group="sorted-set", check=_selection)
def zrevrangebylex(db: Keyspace, arguments: Arguments) -> Reply:
    """The members in a range of members, from the last, where all scores are equal."""
    return _range(db, arguments)


@command("ZRANGESTORE", -5, group="sorted-set", write=True, keys=Keys(1, 2), check=_selection)
def zrangestore(db: Keyspace, arguments: Arguments) -> Reply:
    """Store what ZRANGE gives; answer its size."""
    selection, _ = _selection(arguments)
    selected = selection.of(db.get(arguments[2], SortedSet))
    return store(db, arguments[1], SortedSet((member, score) for score, member in selected), "zrangestore")


def _scores(arguments: Arguments) -> Range:
    return score_range(arguments[2], arguments[3])


def _members(arguments: Arguments) -> Range:
    return lex_range(arguments[2], arguments[3])


def _ranks(arguments: Arguments) -> Range:
    return rank_range(arguments[2], arguments[3])


def _count(db: Keyspace, key: bytes, limits: Range) -> int:
    value = db.get(key, SortedSet)
    if value is None:
        return 0
    start, stop = limits.within(value)
    return stop - start


@command("ZCOUNT", 4, group="sorted-set", check=_scores)
def zcount(db: Keyspace, arguments: Arguments) -> Reply:
    """How many members are in a range of scores."""
    return _count(db, arguments[1], _scores(arguments))


@command("ZLEXCOUNT", 4, group="sorted-set", check=_members)
def zlexcount(db: Keyspace, arguments: Arguments) -> Reply:
    """How many members are in a range of members, where all scores are equal."""
    return _count(db, arguments[1], _members(arguments))


def _remove(db: Keyspace, key: bytes, limits: Range, event: str) -> int:
    members = [member for _, member in Selection(limits).of(db.get(key, SortedSet))]
    return remove(db, key, members, event)


@command("ZREMRANGEBYRANK", 4, group="sorted-set", write=True, freeing=True, check=_ranks)
def zremrangebyrank(db: Keyspace, arguments: Arguments) -> Reply:
    """Remove the members in a range of ranks; answer how many they are."""
    return _remove(db, arguments[1], _ranks(arguments), "zremrangebyrank")


@command("ZREMRANGEBYSCORE", 4, group="sorted-set", write=True, freeing=True, check=_scores)
def zremrangebyscore(db: Keyspace, arguments: Arguments) -> Reply:
    """Remove the members in a range of scores; answer how many they are."""
    return _remove(db, arguments[1], _scores(arguments), "zremrangebyscore")


@command("ZREMRANGEBYLEX", 4, group="sorted-set", write=True, freeing=True, check=_members)
def zremrangebylex(db: Keyspace, arguments: Arguments) -> Reply:
    """Remove the members in a range of members, where all scores are equal; answer how many they are."""
    return _remove(db, arguments[1], _members(arguments), "zremrangebylex")
