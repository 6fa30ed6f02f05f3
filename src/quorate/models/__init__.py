"""Declared models: a class becomes a replicated, validated REST resource.

::

    model, fields   what is declared with; what may be said of a field: attributes, limits, validators, annotations
    declaration     from a class to its schema (names, patches); domain_events, the methods among it that are events
    commands        what stands in the log: lists of operations
    machine         applies them: changes to objects, calls of events, merge patches
    declared        which declarations are in force, and declaring puts them there; rules say whether nodes judge alike,
                    migrations what becomes of what is stored, upgrading of commands that were on their way
    submitting      operations into the log, for both ways in: rest/ over HTTP, objects/ in Python
    query/          questions to the tables; freshness, how fresh the answer is where nobody says
    feeds           who follows the changes
    local           values that each node has for itself; upkeep and retention, what it does beside the requests
    store/          how all of it is kept
"""

from __future__ import annotations

from quorate.models.fields import field
from quorate.models.model import Model

__all__ = ["Model", "field"]
