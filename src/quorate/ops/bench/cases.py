"""What the key-value benchmark does to each system, and what one round of it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VALUE = b"x" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of load: ``clients`` at a time, each with ``pipeline`` requests under way."""

    command: Literal["set", "get"]
    clients: int
    pipeline: int = 1
    at: Literal["leader", "follower"] = "leader"

    @property
    def in_flight(self) -> int:
        """Requests under way at any time."""
        return self.clients * self.pipeline

    @property
    def name(self) -> str:
        """For people."""
        many = f"{self.clients} client{'s' if self.clients > 1 else ''}"
        where = ", at a follower" if self.at == "follower" else ""
        return f"{self.command.upper()}, {many}{f', pipeline {self.pipeline}' if self.pipeline > 1 else ''}{where}"


CASES = (
    Case(command="set", clients=1),
    Case(command="set", clients=64),
    Case(command="set", clients=256),
    Case(command="set", clients=64, pipeline=16),
    Case(command="get", clients=64),
    Case(command="get", clients=64, at="follower"),
)
"""Writes go to the leader; reads are linearizable wherever they are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a load generator says of one round."""

    operations: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
