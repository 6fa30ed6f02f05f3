"""The keys that wait to be written, as they were when the checkpoint began, while they go on changing.

A key that is about to change while it waits is encoded just before: its image. Nothing else is copied. Where all keys
are deleted at once, the table in which they were stays as it is until the checkpoint has gone through it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from binascii import crc_hqx
from collections import defaultdict
from collections.abc import Iterator
from typing import cast

import msgspec

from quorate.kv.codec import Row, encode_row, row_of
from quorate.kv.keyspace import Item, Keyspace
from quorate.kv.slots import SLOT_MASK

SLOTS_PER_STEP = 2048
"""So many slots with nothing in them are walked past in a step."""

Image = bytes | bool | None
"""What is to be written of a key: ``None``, what is there now; bytes, this row; ``False``, that nothing is there."""
_DONE = True
"""It does not wait, or not any more."""

Images = dict[bytes, Image]


class Waiting(ABC):
    """Keys in slots by their checksum, which are written one slot after the other."""

    _images: list[Images] | defaultdict[int, Images]
    """By the number of the slot."""

    def __init__(self, keyspace: Keyspace, mask: int, listed: int) -> None:
        self._keyspace = keyspace
        self._table = keyspace.items
        """Where the keys are whose images are ``None``."""
        self._mask = mask
        self._listed = listed
        """Keys of slots before this are in ``_images`` as long as they wait. Of the others all keys wait, and only
        those that have changed are there."""

    def before_change(self, checksum: int, key: bytes, item: Item | None) -> None:
        """``item`` is what is at ``key``, whose checksum that is."""
        number = checksum & self._mask
        images = self._images[number]
        default = _DONE if number < self._listed else None
        if images.get(key, default) is None and self._keyspace.items is self._table:
            images[key] = False if item is None else encode_row(key, item)

    def steps(self, rows_per_segment: int, bytes_per_segment: int) -> Iterator[list[Row | msgspec.Raw]]:
        """All rows, in lists of about so many or so large. Some are empty, for nothing is to take long."""
        slots = self._table.slots
        rows: list[Row | msgspec.Raw] = []
        size = 0
        for waiting in self._each_slot():
            if not waiting:
                yield []  # what was found so far goes with what follows
            while waiting:
                key, image = waiting.popitem()
                if image is None:
                    item = slots[crc_hqx(key, 0) & SLOT_MASK].get(key)
                    rows.append(row_of(key, item))
                    size += len(key) if item is None else item.size
                elif image is False:
                    rows.append(row_of(key, None))
                    size += len(key)
                else:
                    rows.append(msgspec.Raw(cast("bytes", image)))
                    size += len(cast("bytes", image))
                if len(rows) >= rows_per_segment or size >= bytes_per_segment:
                    yield rows
                    rows, size = [], 0
        yield rows

    @abstractmethod
    def _each_slot(self) -> Iterator[Images]:
        """The keys of each slot; they are taken out as they are written. None at all: it is time for a pause."""


class Changed(Waiting):
    """The keys that were changed since the last checkpoint."""

    _images: list[Images]

    def __init__(self, keyspace: Keyspace) -> None:
        """They are not dirty any more."""
        slots = keyspace.take_dirty().slots
        super().__init__(keyspace, mask=len(slots) - 1, listed=len(slots))
        self._images = cast("list[Images]", slots)

    def _each_slot(self) -> Iterator[Images]:
        return filter(None, self._images)


class All(Waiting):
    """All keys that there are."""

    _images: defaultdict[int, Images]

    def __init__(self, keyspace: Keyspace) -> None:
        """None of them is dirty any more."""
        keyspace.discarded.add_table(keyspace.take_dirty())
        super().__init__(keyspace, mask=SLOT_MASK, listed=0)
        self._images = defaultdict(dict)

    def _each_slot(self) -> Iterator[Images]:
        images = self._images
        for number, slot in enumerate(self._table.slots):
            self._listed = number + 1
            if slot or number in images:
                images[number] = listed = _listed(slot, images.pop(number, {}))
                if listed:
                    yield listed
                del images[number]
            if self._listed % SLOTS_PER_STEP == 0:
                yield {}


def _listed(slot: dict[bytes, Item], images: Images) -> Images:
    """The keys that were in a slot, of which those with images have changed since."""
    listed: Images = dict.fromkeys(slot)
    for key, image in images.items():
        if image is False:
            listed.pop(key, None)  # it came later
        else:
            listed[key] = image
    return listed
