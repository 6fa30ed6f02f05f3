"""Declared models: a class becomes a replicated, validated REST resource."""

from __future__ import annotations

from quorate.models.fields import field
from quorate.models.model import Model

__all__ = ["Model", "field"]
