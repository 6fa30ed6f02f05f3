"""Random commands, most of them sensible: each from a line of its grammar, now and then with a mistake in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

MISTAKES = 0.2
"""In so many of the commands."""
STRANGERS = 0.08
"""So often a key of any type stands where one of a certain type should."""
OPTIONS_MAX = 3

FAR_SECONDS = 4_102_444_800
"""The year 2100: nothing that is meant to live ends while it is compared."""

KEYS = {
    "string": [b"s1", b"s2", b"s3", b"s\0\xff"],
    "hash": [b"h1", b"h2", b"h3"],
    "list": [b"l1", b"l2", b"l3"],
    "set": [b"t1", b"t2", b"t3"],
    "zset": [b"z1", b"z2", b"z3"],
}
ALL_KEYS = [key for keys in KEYS.values() for key in keys]
EQUAL_SCORES = [b"x1", b"x2"]
"""Sorted sets whose scores are all the same, as ranges of members need it."""

INTEGERS = b"0 1 2 3 -1 -2 -3 5 7 10 -10 100 -100".split()
HUGE = [b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"-9223372036854775809"]
NO_INTEGERS = [
    *(b"", b"x", b"1.0", b"+1", b" 1", b"1 ", b"01", b"-0", b"1e3", b"0x10", b"12345678901234567890123", b"1\0"),
]
FLOATS = b"0 1 2 3 -1 1.5 0.1 0.2 -2.25 3.0e2 1e20 1e-7 1e17 5. .5".split()
STRANGE_FLOATS = [
    *b"inf -inf +inf Infinity -0 -0.0 +1.5 0x1p3 0x10 1e308 1e-320 1e15 123456789012345678 9007199254740993".split(),
    *b"1000.1 100000000 1234567.8901234 0.30000000000000004 3.14159265358979323846 00012 1e5".split(),
    *b"4503599627370497.5 99999999999999999999999".split(),
]
NO_FLOATS = [
    *(b"", b" 1", b"1 ", b"1\0"),
    *b"nan -nan x 1.5x 1e400 -1e400 1e-400 1e5000 1e-5000 1,5 0x 1e infi".split(),
]
TEXTS = [b"", b"a", b"b", b"foobar", b"Hello World", b"\0\xff\r\n", b"v" * 70, b"ab" * 30, b"ohmytext", b"mynewtext"]
MEMBERS = [b"a", b"b", b"c", b"d", b"1", b"2", b"3", b"-7", b"10", b"", b"aa", b"ab", b"\xff\0", b"m" * 70]
PATTERNS = [
    *(b"*", b"?1", b"s*", b"[st]?", b"[^s]*", b"[a-m]*", b"[m-a]*", b"h\\1", b"", b"[", b"[^", b"s[\\1-2]", b"**1"),
    *(b"\\", b"[]a]", b"s\\", b"[a-", b"[1-", b"[s-"),
]
PATTERN_PARTS = [b"s", b"1", b"2", b"h", b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"\0", b"\xff"]

Pool = Callable[[Random], bytes]


def _one_of(*pools: list[bytes], weights: list[int] | None = None) -> Pool:
    """One element of one of the pools, whose weights say how often it is the one."""
    return lambda random: random.choice(random.choices(pools, weights)[0])


def _key(kind: str) -> Pool:
    return lambda random: random.choice(ALL_KEYS if random.random() < STRANGERS else KEYS[kind])


def _float(random: Random) -> bytes:
    if random.random() < 0.8:
        return random.choice(random.choices([FLOATS, STRANGE_FLOATS, NO_FLOATS], [10, 3, 1])[0])
    number = random.choice([b"", b"-"]) + b"%d" % random.randrange(10 ** random.randrange(1, 20))
    if random.random() < 0.7:
        number += b".%d" % random.randrange(10 ** random.randrange(1, 20))
    return number + (b"e%d" % random.randrange(-30, 30) if random.random() < 0.3 else b"")


def _bound(random: Random) -> bytes:
    return random.choice([b"", b"", b"", b"("]) + _float(random)


def _pattern(random: Random) -> bytes:
    if random.random() < 0.5:
        return random.choice(PATTERNS)
    return b"".join(random.choices(PATTERN_PARTS, k=random.randrange(1, 6)))


def _place(random: Random) -> bytes:
    return random.choice([b"", b"", b"#"]) + random.choice([b"0", b"1", b"3", b"7", b"8", b"20", b"100", b"63"])


def _amount(random: Random) -> bytes:
    """So many that hardly two are alike: whether one is before another must not depend on how long a command took."""
    return b"%d" % random.randrange(1_000_000, 100_000_000)


def _second(random: Random) -> bytes:
    return b"%d" % (FAR_SECONDS + 1000 * random.randrange(3))


def _millisecond(random: Random) -> bytes:
    return b"%d" % (FAR_SECONDS * 1000 + 1_000_000 * random.randrange(5) + random.choice([0, 0, 499, 500, 501]))


INTEGER = _one_of(INTEGERS, HUGE, NO_INTEGERS, weights=[12, 1, 1])
VALUE = _one_of(TEXTS, INTEGERS, FLOATS, HUGE, NO_INTEGERS, STRANGE_FLOATS, NO_FLOATS)

POOLS: dict[str, Pool] = {
    "key": lambda random: random.choice(ALL_KEYS),
    **{kind: _key(kind) for kind in KEYS},
    "value": VALUE,
    "integer": INTEGER,
    "count": _one_of(
        [b"0", b"1", b"2", b"3", b"10"], [b"-1", b"-3"], [b"x", b"9223372036854775807"], weights=[9, 2, 1]
    ),
    "float": _float,
    "member": _one_of(MEMBERS),
    "number": _one_of(INTEGERS),
    "bound": _bound,
    "lex": _one_of([b"-", b"+", b"[a", b"(a", b"[b", b"(c", b"[", b"(", b"[\xff"], [b"", b"a", b"--"], weights=[12, 1]),
    "bit": _one_of([b"0", b"1"], [b"2", b"x", b"-1"], weights=[12, 1]),
    "place": _place,
    "width": _one_of(
        [b"u8", b"i8", b"u2", b"i5", b"u63", b"i64", b"u1", b"i1"],
        [b"u64", b"i65", b"u0", b"x", b"u", b"U8", b"u08", b"i+4", b"u 4"],
        weights=[12, 1],
    ),
    "offset": _one_of([b"0", b"1", b"3", b"7", b"8", b"20", b"100"], [b"-1", b"x", b"536870912"], weights=[12, 1]),
    "pattern": _pattern,
    "timeout": _one_of([b"0", b"1", b"0.01", b"1e3"], [b"-1", b"x", b"nan", b"-0.5"], weights=[6, 1]),
    "amount": _amount,
    "over": _one_of([b"0", b"-1", b"-9223372036854775808", b"9223372036854775807", b"x", b"9223372036854776"]),
    "over_ms": _one_of([b"0", b"-1", b"-9223372036854775808", b"9223372036854775808", b"x"]),
    "equal": _one_of(EQUAL_SCORES),
    "second": _second,
    "millisecond": _millisecond,
    "type": _one_of([b"string", b"list", b"HASH", b"zset", b"set", b"stream"]),
    "cursor": _one_of([b"0"], [b"x", b"-1", b"", b"+5", b" 0", b"99999999999999999999999", b"0x"], weights=[12, 1]),
}

GRAMMAR = """
SET string value [NX|XX|GET|KEEPTTL|EX amount|PX amount|EXAT second|PXAT millisecond|EX over|EXAT over]*
GET string
GETDEL string
GETEX string [PERSIST|EX amount|PX amount|EXAT second|PXAT millisecond|EX over|PXAT over_ms]
GETSET string value
SETNX string value
SETEX string [amount|over] value
PSETEX string amount value
MGET { string }
MSET { string value }
MSETNX { string value }
APPEND string value
STRLEN string
GETRANGE string integer integer
SUBSTR string integer integer
SETRANGE string offset value
LCS string string [LEN|IDX|MINMATCHLEN integer|WITHMATCHLEN]*
INCR string
DECR string
INCRBY string integer
DECRBY string integer
INCRBYFLOAT string float
SETBIT string offset bit
GETBIT string offset
BITCOUNT string [integer integer|integer integer BYTE|integer integer BIT]
BITPOS string bit [integer|integer integer|integer integer BYTE|integer integer BIT]
BITOP AND string { string }
BITOP OR string { string }
BITOP XOR string { string }
BITOP NOT string string
BITFIELD string [GET width place|SET width place integer|INCRBY width place integer|OVERFLOW SAT|OVERFLOW value]*
BITFIELD string OVERFLOW FAIL [GET width place|SET width place integer|INCRBY width place integer|OVERFLOW WRAP]*
BITFIELD_RO string [GET width place]*
HSET hash { member value }
HMSET hash { member value }
HSETNX hash member value
HGET hash member
HMGET hash { member }
HGETALL hash
HDEL hash { member }
HEXISTS hash member
HLEN hash
HSTRLEN hash member
HKEYS hash
HVALS hash
HINCRBY hash member integer
HINCRBYFLOAT hash member float
HRANDFIELD hash [count|count WITHVALUES]
HSCAN hash cursor [MATCH pattern|COUNT integer]*
LPUSH list { member }
RPUSH list { member }
LPUSHX list { member }
RPUSHX list { member }
LPOP list [count]
RPOP list [count]
LLEN list
LRANGE list integer integer
LINDEX list integer
LSET list integer member
LREM list integer member
LTRIM list integer integer
LINSERT list BEFORE member member
LINSERT list AFTER member member
LPOS list member [RANK integer|COUNT integer|MAXLEN integer]*
LMOVE list list LEFT RIGHT
LMOVE list list RIGHT LEFT
LMOVE list list LEFT LEFT
LMOVE list list RIGHT RIGHT
RPOPLPUSH list list
LMPOP keys:list LEFT [COUNT count]
LMPOP keys:list RIGHT [COUNT count]
BLPOP { list } timeout
BRPOP { list } timeout
BLMOVE list list LEFT RIGHT timeout
BRPOPLPUSH list list timeout
BLMPOP timeout keys:list RIGHT [COUNT count]
SADD set { member }
SADD set { number }
SREM set { member }
SMEMBERS set
SISMEMBER set member
SMISMEMBER set { member }
SCARD set
SPOP set [count]
SRANDMEMBER set [count]
SMOVE set set member
SUNION { set }
SINTER { set }
SDIFF { set }
SUNIONSTORE set { set }
SINTERSTORE set { set }
SDIFFSTORE set { set }
SINTERCARD keys:set [LIMIT integer]
SSCAN set cursor [MATCH pattern|COUNT integer]*
SORT list [ASC|DESC|ALPHA|LIMIT integer integer|BY nosort|GET #|STORE list]*
SORT set [ASC|DESC|ALPHA|LIMIT integer integer|GET #|STORE list]*
SORT zset [ASC|DESC|ALPHA|LIMIT integer integer|BY nosort|GET #|STORE list]*
SORT_RO list [ASC|DESC|ALPHA|LIMIT integer integer|GET #]*
ZADD zset [NX|XX|GT|LT|CH]* { float member }
ZADD equal { 0 member }
ZREM equal member
ZADD zset [NX|XX|GT|LT|CH]* INCR float member
ZADD zset [GT|LT] INCR 0 member
ZINCRBY zset float member
ZSCORE zset member
ZMSCORE zset { member }
ZREM zset { member }
ZCARD zset
ZRANK zset member
ZREVRANK zset member
ZPOPMIN zset [count]
ZPOPMAX zset [count]
ZMPOP keys:zset MIN [COUNT count]
ZMPOP keys:zset MAX [COUNT count]
BZPOPMIN { zset } timeout
BZPOPMAX { zset } timeout
BZMPOP timeout keys:zset MAX [COUNT count]
ZRANDMEMBER zset [count|count WITHSCORES]
ZSCAN zset cursor [MATCH pattern|COUNT integer]*
ZRANGE zset integer integer [REV|WITHSCORES|LIMIT integer integer]*
ZRANGE zset bound bound BYSCORE [REV|WITHSCORES|LIMIT integer integer|BYLEX]*
ZRANGE equal lex lex BYLEX [REV|WITHSCORES|LIMIT integer integer]*
ZRANGESTORE zset zset integer integer [REV|WITHSCORES]*
ZRANGESTORE zset zset bound bound BYSCORE [REV|LIMIT integer integer]*
ZRANGESTORE zset equal lex lex BYLEX [REV|LIMIT integer integer]*
ZREVRANGE zset integer integer [WITHSCORES]
ZRANGEBYSCORE zset bound bound [WITHSCORES|LIMIT integer integer]*
ZREVRANGEBYSCORE zset bound bound [WITHSCORES|LIMIT integer integer]*
ZRANGEBYLEX equal lex lex [LIMIT integer integer]*
ZREVRANGEBYLEX equal lex lex [LIMIT integer integer]*
ZCOUNT zset bound bound
ZLEXCOUNT equal lex lex
ZREMRANGEBYRANK zset integer integer
ZREMRANGEBYSCORE zset bound bound
ZREMRANGEBYLEX equal lex lex
ZUNION keys:zset [WEIGHTS float|WEIGHTS float float|AGGREGATE SUM|AGGREGATE MIN|AGGREGATE MAX|WITHSCORES]*
ZINTER keys:zset [WEIGHTS float|WEIGHTS float float|AGGREGATE SUM|AGGREGATE MIN|AGGREGATE MAX|WITHSCORES]*
ZUNION 2 zset set [WEIGHTS float float|WITHSCORES]*
ZINTER 2 set zset [WEIGHTS float float|WITHSCORES]*
ZDIFF keys:zset [WITHSCORES]*
ZUNIONSTORE zset keys:zset [WEIGHTS float|WEIGHTS float float|AGGREGATE SUM|AGGREGATE MIN|AGGREGATE MAX]*
ZINTERSTORE zset keys:zset [WEIGHTS float|WEIGHTS float float|AGGREGATE SUM|AGGREGATE MIN|AGGREGATE MAX]*
ZDIFFSTORE zset keys:zset
ZINTERCARD keys:zset [LIMIT integer]
DEL { key }
UNLINK { key }
EXISTS { key }
TOUCH { key }
TYPE key
RENAME key key
RENAME string string
RENAMENX key key
COPY key key [REPLACE|DB 0|DB 1|DB value]*
COPY string string [REPLACE|DB 0]*
KEYS pattern
SCAN cursor COUNT 1000 [MATCH pattern|COUNT integer|TYPE type]*
RANDOMKEY
DBSIZE
FLUSHDB [ASYNC|SYNC|value]
FLUSHALL [ASYNC|SYNC]
EXPIRE key [amount|over] [NX|XX|GT|LT]*
PEXPIRE key [amount|over_ms] [NX|XX|GT|LT]*
EXPIREAT key [second|over] [NX|XX|GT|LT|value]*
PEXPIREAT key [millisecond|over_ms] [NX|XX|GT|LT]*
EXPIREAT string second [GT|LT]
PERSIST key
TTL key
PTTL key
EXPIRETIME key
PEXPIRETIME key
OBJECT ENCODING key
OBJECT REFCOUNT key
OBJECT IDLETIME key
OBJECT FREQ key
PUBLISH value value
MEMORY USAGE key [SAMPLES integer]
"""

LINES = [line.split() for line in re.sub(r"([\[\]{}|]\*?)", r" \1 ", GRAMMAR).strip().splitlines()]
RARE = {"DEL", "UNLINK", "RENAME", "RENAMENX", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "COPY"}
"""After too many of these nothing would be there to work with."""
_WEIGHTS = [0.1 if line[0].startswith("FLUSH") else 0.3 if line[0] in RARE else 1.0 for line in LINES]


def random_command(random: Random) -> list[bytes]:
    """One command; its name is in capitals."""
    name, *words = random.choices(LINES, _WEIGHTS)[0]
    command = [name.encode(), *_phrase(words, random)]
    if random.random() < MISTAKES:
        _make_a_mistake(command, random)
    return command


def _phrase(words: list[str], random: Random) -> list[bytes]:
    """Arguments for the words, which are taken from the list."""
    made: list[bytes] = []
    while words:
        word = words.pop(0)
        if word == "[":
            alternatives, end = _alternatives(words)
            times = random.randrange(OPTIONS_MAX + 1) if end == "]*" else random.random() < 0.7
            for _ in range(times):
                made += _phrase(list(random.choice(alternatives)), random)
        elif word == "{":
            repeated = words[: words.index("}")]
            del words[: len(repeated) + 1]
            for _ in range(random.choice([1, 1, 2, 3, 4])):
                made += _phrase(list(repeated), random)
        elif word.startswith("keys:"):
            keys = [POOLS[word.removeprefix("keys:")](random) for _ in range(random.choice([1, 2, 2, 3]))]
            made += [b"%d" % len(keys), *keys]
        else:
            made.append(POOLS[word](random) if word in POOLS else _in_any_case(word.encode(), random))
    return made


def _alternatives(words: list[str]) -> tuple[list[list[str]], str]:
    """What lies between a bracket and its end, taken from the list; and which end it is."""
    alternatives: list[list[str]] = [[]]
    while not (word := words.pop(0)).startswith("]"):
        if word == "|":
            alternatives.append([])
        else:
            alternatives[-1].append(word)
    return alternatives, word


def _in_any_case(word: bytes, random: Random) -> bytes:
    return word.lower() if random.random() < 0.3 else word


def _make_a_mistake(command: list[bytes], random: Random) -> None:
    at = random.randrange(1, len(command) + 1)
    match random.randrange(5):
        case 0:
            command.insert(at, VALUE(random))
        case 1 if at < len(command):
            del command[at]
        case 2 if at < len(command):
            command[at] = VALUE(random)
        case 3:
            del command[1:]
        case _:
            command.append(random.choice([b"LIMIT", b"WITHSCORES", b"COUNT", b"GET", b"x"]))
