"""What ``<command> HELP`` answers for a command that has subcommands."""

from __future__ import annotations

from collections.abc import Mapping

from quorate.kv.replies import Status


def help_lines(name: str, subcommands: Mapping[str, str]) -> list[Status]:
    """As Redis lays it out: each subcommand as it is written, and below it what it does."""
    lines = [f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for usage, does in {**subcommands, "HELP": "Print this help."}.items():
        lines += [usage, f"    {does}"]
    return [Status(line.encode()) for line in lines]
