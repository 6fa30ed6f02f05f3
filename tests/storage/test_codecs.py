"""The two forms of a log file (A2.59, A2.60): what goes in comes out, and nothing passes for what it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.errors import CorruptLog, FrameError
from quorate.raft.entry import Entry, EntryKind
from quorate.storage import BINARY, JSON_LINES, Codec, MemoryFileSystem, Wal
from quorate.storage.codecs import MARK_KIND, NoRecord, codec_of
from quorate.storage.codecs.readable import DEPTH_MAX, original, readable

from .support import LOG, Promises, contents, disk, entry, everything, places, run

FIRST = LOG / f"{1:020d}.raftlog"
pack = msgspec.msgpack.encode

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(["$text", "$"]), inner, max_size=4)
        | st.dictionaries(st.integers(0, 9), inner, max_size=2)
        | inner.map(pack)
    ),
    max_leaves=12,
)
payloads = st.binary(max_size=200) | values.map(pack) | st.text().map(str.encode)
numbers = st.integers(0, 2**64 - 1)


def batch(time_us: int, *bodies: bytes) -> bytes:
    """What the state machines' commands look like in the log."""
    return pack([time_us, 2**64 - 1, [["kv", body, None, 1] for body in bodies]])


@given(numbers, numbers, st.sampled_from(EntryKind), payloads)
@settings(max_examples=300, deadline=None)
def test_an_entry_comes_back_byte_for_byte(codec: Codec, index: int, term: int, kind: EntryKind, data: bytes) -> None:
    item = Entry(index, term, kind, data)
    record = codec.encode(item)
    assert codec.record_at(b"before" + record, 6) == (6 + len(record), kind, term, index, len(data))
    assert codec.decode(record * 2) == [item, item]


@given(numbers, st.integers(0, 2**40))
@settings(deadline=None)
def test_a_mark_is_found_where_it_stands_and_nowhere_else(codec: Codec, durable: int, offset: int) -> None:
    mark = codec.encode_mark(durable, offset)
    assert len(mark) <= codec.mark_bytes_max
    assert codec.record_at(mark, 0) == (len(mark), MARK_KIND, offset, durable, 0)
    assert codec.proven_behind(mark, 0) == (durable if offset == 0 else 0)
    shifted = bytes(50) + codec.encode_mark(durable, 50) + bytes(9)
    assert codec.proven_behind(shifted, 17) == durable
    assert codec.proven_behind(shifted, 51) == 0


@given(numbers, numbers)
@settings(max_examples=30, deadline=None)
def test_the_header_says_which_form_it_is(codec: Codec, group: int, first_index: int) -> None:
    header = codec.header(group % 2**32, first_index)
    assert codec_of(header) is codec
    assert codec.read_header(header + b"rest") == (group % 2**32, first_index, len(header))
    for place in range(8 * len(header)):
        damaged = bytearray(header)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(NoRecord):
            codec_of(damaged).read_header(bytes(damaged))


@given(payloads)
@settings(max_examples=40, deadline=None)
def test_no_changed_bit_and_no_beginning_is_a_record(codec: Codec, data: bytes) -> None:
    record = codec.encode(entry(17, 3, data))
    for place in range(8 * len(record)):
        damaged = bytearray(record)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(NoRecord):
            codec.record_at(bytes(damaged), 0)
    for size in range(len(record)):
        for behind in (b"", bytes([record[size] ^ 1]) * 40):
            with pytest.raises(NoRecord):
                codec.record_at(record[:size] + behind, 0)
    with pytest.raises(FrameError):
        codec.decode(record[:-1])


def test_a_mark_is_no_entry(codec: Codec) -> None:
    with pytest.raises(FrameError, match="unknown kind"):
        codec.decode(codec.encode_mark(1, 0))


def test_a_header_of_a_later_version_is_refused() -> None:
    line = JSON_LINES.header(0, 1).replace(b'"version":1', b'"version":2')
    with pytest.raises(NoRecord, match="header"):
        JSON_LINES.read_header(line)


def test_the_places_behind_damage_are_where_records_begin(codec: Codec) -> None:
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec)
    wal.append(run(1, 9))
    data = contents(fs)[FIRST][: wal.size_bytes]
    starts = [start for start, _, _ in places(codec, data)]
    assert set(starts[4:]) <= set(codec.places_behind(data, starts[3], len(data)))
    assert all(place > starts[3] for place in codec.places_behind(data, starts[3], len(data)))


# -- the readable form ------------------------------------------------------------------------------------


def test_a_line_can_be_read_with_nothing_but_a_json_parser() -> None:
    body = pack({"name": "Oak", "tags": ["a\nb", "ü"], "price": 1.5, "raw": b"\x00\xff", "text": b"plain"})
    payload = batch(1_700_000_000_000_001, body, b"SET k v")
    line = JSON_LINES.encode(Entry(17, 3, EntryKind.COMMANDS, payload))
    assert line.count(b"\n") == 1
    assert line.endswith(b"}\n")
    found = json.loads(line)
    assert list(found) == ["index", "term", "kind", "time", "bytes", "payload", "crc32c"]
    assert (found["index"], found["term"], found["kind"], found["bytes"]) == (17, 3, "COMMANDS", len(payload))
    assert found["time"] == "2023-11-14T22:13:20.000001Z"
    time_us, seed, ((machine, first, *_), (_, second, *_)) = found["payload"]["$msgpack"]
    assert (time_us, seed, machine) == (1_700_000_000_000_001, 2**64 - 1, "kv")
    assert first["$msgpack"] == {
        "name": "Oak", "tags": ["a\nb", "ü"], "price": 1.5, "raw": {"$base64": "AP8="}, "text": {"$text": "plain"},
    }  # fmt: skip
    assert second == {"$text": "SET k v"}


def test_every_line_of_a_log_is_json_and_nothing_is_behind_the_last() -> None:
    """So that ``tail -f FILE | jq`` works on the file that is being written."""
    fs = disk()
    wal = Wal.open(fs, LOG, codec=JSON_LINES)
    for index in range(1, 30):
        wal.append(run(index, index, size=index))
        wal.sync()
    data = contents(fs)[FIRST]
    header, *lines = map(json.loads, data.decode().splitlines())
    assert (header["log"], header["version"], header["group"], header["first_index"]) == ("quorate", 1, 0, 1)
    assert [line["index"] for line in lines if "index" in line] == list(range(1, 30))
    assert [line["byte"] for line in lines if "byte" in line] == [
        start for start, _, kind in places(JSON_LINES, data) if kind == MARK_KIND
    ]


def deep(levels: int) -> bytes:
    return b"\x91" * levels + b"\x01"


@pytest.mark.parametrize(
    "payload",
    [
        pack({1: "key that is no text"}),
        pack([float("nan")]),
        pack([float("-inf")]),
        pack({"$text": "someone's own"}),
        pack([{"$": 1}]),
        b"\x91\xca\x3f\x80\x00\x00",
        b"\x91\xcd\x00\x01",
        b"\x82\xa1a\x01\xa1a\x02",
        b"\xdc\x00\x01\x01",
        b"\x91\xd4\x05\x01",
        b"\x91\xd6\xff\x00\x00\x00\x01",
        b"\x91\xa1\xff",
        b"\x93\x01",
        pack([1]) + b"\x00",
        deep(DEPTH_MAX + 1),
        deep(100_000),
        b"\x00\x01",
        b"\x1b[0m",
    ],
    ids=[
        "keys that are no text", "NaN", "infinity", "a key of ours", "a key like ours", "a short float", "a long form",
        "a key twice", "a long list header", "an extension", "a timestamp", "no UTF-8", "cut short", "more behind it",
        "too deep", "far too deep", "no text", "an escape sequence",
    ],
)  # fmt: skip
def test_what_json_cannot_hold_exactly_is_base64(payload: bytes) -> None:
    form = readable(payload)
    assert list(form) == ["$base64"]
    assert original(form) == payload
    # Inside something else only that part is.
    around = readable(pack(["before", payload]))
    assert around == {"$msgpack": ["before", form]}
    assert original(json.loads(json.dumps(around))) == pack(["before", payload])
    (read,) = JSON_LINES.decode(JSON_LINES.encode(entry(1, payload=payload)))
    assert read.payload == payload


def test_a_form_that_does_not_give_back_the_bytes_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder looks for itself, so that a mistake in the form could not cost anybody an entry."""
    monkeypatch.setattr("quorate.storage.codecs.json_lines.readable", lambda data: {"$text": "wrong"})
    line = JSON_LINES.encode(entry(1, payload=b"right"))
    assert json.loads(line)["payload"] == {"$base64": "cmlnaHQ="}
    assert JSON_LINES.decode(line) == [entry(1, payload=b"right")]


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"$text": 1},
        {"$text": "a", "$base64": ""},
        {"$base64": "?"},
        {"$hex": "00"},
        [],
        "text",
        {"$msgpack": 2**70},
    ],
)
def test_what_is_no_form_of_bytes_is_refused(form: Any) -> None:
    with pytest.raises(ValueError):
        original(form)


def sealed(line: bytes) -> bytes:
    """A line of any content with the right checksum, as only a program could have written it."""
    from google_crc32c import value as crc32c

    return line + b',"crc32c":"%08x"}\n' % crc32c(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"index":2,"term":1,"kind":"UNHEARD","bytes":0,"payload":{"$text":""}',
        b'{"note":"written by hand"',
        b'{"index":3,"term":1,"kind":"NOOP","bytes":0,"payload":{"$text":""}',
    ],
)
def test_an_intact_line_that_cannot_follow_is_refused(line: bytes) -> None:
    fs = disk()
    wal = Wal.open(fs, LOG, codec=JSON_LINES)
    wal.append([entry(1)])
    wal.close()
    fs.open(FIRST).write_at(wal.size_bytes, sealed(line))
    with pytest.raises(CorruptLog, match="intact"):
        Wal.open(fs, LOG)


def test_an_intact_line_whose_payload_is_not_what_it_says_is_no_entry() -> None:
    for payload in (b'{"$text":"abc"}', b'{"$nothing":1}', b"[}", b"3"):
        with pytest.raises(FrameError, match="cannot be read"):
            JSON_LINES.decode(sealed(b'{"index":1,"term":1,"kind":"NOOP","bytes":4,"payload":' + payload))


def test_a_mark_written_into_an_entry_at_its_own_offset_proves_nothing() -> None:
    """Text is escaped, and in msgpack there is no line break behind it: so no bytes of an entry are a mark."""
    start = len(JSON_LINES.header(0, 1)) + len(JSON_LINES.encode(entry(1)))
    for offset in range(start, start + 400):
        mark = JSON_LINES.encode_mark(1_000_000, offset)
        for payload in (mark, pack(json.loads(mark)), pack([json.loads(mark)] * 2)):
            data = JSON_LINES.encode(entry(2, payload=payload))
            assert JSON_LINES.proven_behind(bytes(start) + data, 0) == 0


# -- logs of both forms -----------------------------------------------------------------------------------


def forms(fs: MemoryFileSystem) -> list[str]:
    return [codec_of(data).name for _, data in sorted(contents(fs).items())]


def test_a_log_goes_on_in_the_other_form() -> None:
    fs = disk()
    written: list[Entry] = []
    for life, codec in enumerate((BINARY, JSON_LINES, JSON_LINES, BINARY), start=1):
        wal = Wal.open(fs, LOG, codec=codec)
        assert everything(wal) == written
        batch = run(len(written) + 1, len(written) + 5, life)
        wal.append(batch)
        wal.sync()
        written += batch
        assert everything(wal) == written
        fs.crash()
    assert forms(fs) == ["binary", "json", "binary"]
    assert everything(Wal.open(fs, LOG)) == written


def test_an_empty_segment_of_the_other_form_is_replaced() -> None:
    fs = disk()
    Wal.open(fs, LOG, codec=JSON_LINES).close()
    assert forms(fs) == ["json"]
    wal = Wal.open(fs, LOG, codec=BINARY)
    assert forms(fs) == ["json"], "nothing is written before something is to be said"
    wal.append(run(1, 3))
    wal.sync()
    assert forms(fs) == ["binary"]
    fs.crash()
    assert everything(Wal.open(fs, LOG)) == run(1, 3)


def test_a_suffix_of_the_other_form_is_cut_off_and_replaced() -> None:
    fs = disk()
    wal = Wal.open(fs, LOG, codec=BINARY, segment_bytes=512)
    wal.append(run(1, 40))
    wal.sync()
    wal = Wal.open(fs, LOG, codec=JSON_LINES, segment_bytes=512)
    wal.append(run(25, 50, term=2))
    wal.sync()
    fs.crash()
    assert everything(Wal.open(fs, LOG)) == [*run(1, 24), *run(25, 50, term=2)]


def both_forms(codec: Codec) -> Iterator[Codec]:
    """One life after the other, beginning with ``codec``."""
    while True:
        yield codec
        codec = JSON_LINES if codec is BINARY else BINARY


@pytest.mark.parametrize("seed", range(4))
def test_power_may_be_lost_at_any_point_of_the_change(codec: Codec, seed: int) -> None:
    rng = Random(seed)
    for changes in range(200):
        fs = disk()
        forms = both_forms(codec)
        promises = Promises(Wal.open(fs, LOG, codec=next(forms), segment_bytes=2048))
        if seed % 2:  # otherwise what is replaced is empty
            promises.append(run(1, 6))
            promises.sync()
        promises.resume(Wal.open(fs, LOG, codec=next(forms), segment_bytes=2048))
        fs.lose_power_after(changes)
        try:
            promises.append(run(len(promises.written) + 1, len(promises.written) + 4, 2))
            promises.sync()
            promises.append(run(max(len(promises.written) - 5, 1), len(promises.written) + 4, 3))
            promises.sync()
        except OSError:
            finished = False
        else:
            finished = True
        fs.crash(rng)
        promises.resume(Wal.open(fs, LOG, codec=next(forms), segment_bytes=2048))
        if finished:
            break
    assert changes > 10


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5), st.integers(0, 300)), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_whatever_the_forms_of_its_files_a_log_reads_the_same(steps: list[tuple[bool, int, int]]) -> None:
    fs = disk()
    written: list[Entry] = []
    for life, (binary, count, size) in enumerate(steps, start=1):
        wal = Wal.open(fs, LOG, codec=BINARY if binary else JSON_LINES, segment_bytes=1024)
        batch = run(len(written) + 1, len(written) + count, life, size)
        wal.append(batch)
        wal.sync()
        written += batch
        wal.close()
    wal = Wal.open(fs, LOG)
    assert everything(wal) == written
    for limit in (1, 100, 1000):
        found = wal.read(1, len(written) + 1, limit)
        sizes = [item.size_bytes for item in found]
        assert sum(sizes[:-1]) < limit
        assert sum(sizes) >= limit or len(found) == len(written)


def test_real_files_are_plain_text(tmp_path: Path) -> None:
    from quorate.storage import RealFileSystem

    wal = Wal.open(RealFileSystem(), tmp_path, codec=JSON_LINES)
    wal.append(run(1, 3))
    wal.sync()
    text = (tmp_path / FIRST.name).read_text()
    assert text.endswith("}\n")
    assert [json.loads(line)["payload"] for line in text.splitlines() if '"index":' in line] == [
        {"$text": f"1.{index}.***"} for index in (1, 2, 3)
    ]
    wal.close()
