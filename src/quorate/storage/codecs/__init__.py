"""The two forms of a log file: ``binary``, the default, and ``json``, lines that people and their tools can read.

Each file says in its header which it has, so that a log may have files of both.
"""

from quorate.storage.codecs.binary import BinaryCodec
from quorate.storage.codecs.contract import MARK_KIND, UNKNOWN_KIND, Codec, NoRecord, Record
from quorate.storage.codecs.json_lines import JsonLinesCodec

BINARY: Codec = BinaryCodec()
JSON_LINES: Codec = JsonLinesCodec()


def codec_of(data: bytes) -> Codec:
    """The form of the file that begins with ``data``; whether its header is intact, the codec tells."""
    return JSON_LINES if data.startswith(b"{") else BINARY


__all__ = [
    "BINARY",
    "JSON_LINES",
    "MARK_KIND",
    "UNKNOWN_KIND",
    "BinaryCodec",
    "Codec",
    "JsonLinesCodec",
    "NoRecord",
    "Record",
    "codec_of",
]
