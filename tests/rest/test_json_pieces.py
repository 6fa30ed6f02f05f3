"""The pieces of a document tell of it what the whole tells."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from quorate.rest import json_pieces
from quorate.rest.json_pieces import pieces_of

texts = st.text(st.sampled_from('a,"\\[]{}:é'), max_size=8)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=30,
)
rubbish = st.text(st.sampled_from('1,"\\[]{}: '), max_size=40).map(str.encode)


def is_valid(document: bytes) -> bool:
    try:
        from_json(document)
    except ValueError:
        return False
    return True


def all_valid(document: bytes) -> bool:
    """Whether the pieces are, however long they are."""
    found = set()
    for size in (1, 3, 16):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_pieces, "PIECE_BYTES", size)
            found.add(all(map(is_valid, pieces_of(document))))
    assert len(found) == 1
    return found.pop()


@given(documents, st.sampled_from([None, 1]))
def test_the_pieces_of_a_document_are_documents(value: Any, indent: int | None) -> None:
    assert all_valid(json.dumps(value, indent=indent).encode())


@given(documents, st.data())
def test_one_wrong_byte_is_found_as_in_the_whole(value: Any, data: st.DataObject) -> None:
    document = bytearray(json.dumps(value).encode())
    at = data.draw(st.integers(0, len(document) - 1))
    wrong = data.draw(st.sampled_from([b"", b",", b'"', b"\\", b"[", b"]", b"{", b"}", b":", b"1"]))
    document[at : at + data.draw(st.integers(0, 1))] = wrong
    assert all_valid(bytes(document)) is is_valid(bytes(document))


@given(rubbish)
def test_what_is_no_document_has_a_piece_that_is_none(document: bytes) -> None:
    assert all_valid(document) is is_valid(document)


def test_depth_is_that_of_the_whole() -> None:
    for depth, is_possible in ((150, True), (199, True), (300, False)):
        document = b"[1," * depth + b"1" + b",1]" * depth
        assert is_valid(document) is is_possible
        assert all_valid(document) is is_possible


def test_pieces_are_short_but_for_long_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_pieces, "PIECE_BYTES", 1000)
    document = json.dumps([{"a": [number, "x,y"]} for number in range(5000)]).encode()
    pieces = list(pieces_of(document))
    assert max(map(len, pieces)) < 1100
    assert len(pieces) < 1.1 * len(document) / 1000 + 2
    text = json.dumps(["a," * 10_000, 1, 2]).encode()
    assert list(pieces_of(text)) == [text]
