"""The text of ``INFO``."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from quorate._version import __version__

if TYPE_CHECKING:
    from quorate.kv.server.service import Service

REDIS_VERSION = "7.0.15"
"""What clients are told that look for the commands of a version of Redis."""
MIB = 1 << 20
EVERYTHING = frozenset((b"all", b"default", b"everything"))


def info_text(service: Service, wanted: set[bytes]) -> str:
    """The sections that are wanted, by their names in small letters; all of them if none is named."""
    sections = _sections(service)
    names = [name for name in sections if not wanted or wanted & EVERYTHING or name.lower().encode() in wanted]
    return "\r\n".join(_section(name, sections[name]) for name in names)


def _section(name: str, values: Mapping[str, object]) -> str:
    return f"# {name}\r\n" + "".join(f"{key}:{value}\r\n" for key, value in values.items())


def _sections(service: Service) -> dict[str, dict[str, object]]:
    node, db = service.node, service.keyspace
    status, used_memory = node.status, _resident_bytes()
    return {
        "Server": {
            "redis_version": REDIS_VERSION,
            "quorate_version": __version__,
            "redis_mode": "standalone",
            "node_id": node.node_id,
            "process_id": os.getpid(),
            "uptime_in_seconds": round(time.monotonic() - service.began_at),
        },
        "Clients": {
            "connected_clients": len(service.connections),
            "maxclients": service.limits.clients_max,
            "blocked_clients": len(service.takers),
        },
        "Memory": {
            "used_memory": used_memory,
            "used_memory_human": f"{used_memory / MIB:.2f}M",
            "used_memory_dataset": db.memory_bytes,
            "maxmemory": service.limits.memory_bytes_max,
            "maxmemory_policy": "noeviction",
        },
        "Stats": {
            "total_connections_received": service.connections_received,
            "total_commands_processed": service.commands_processed,
            "pubsub_channels": len(service.pubsub.channels.by_name),
            "pubsub_patterns": len(service.pubsub.patterns.by_name),
        },
        "Replication": {
            "role": "master" if node.is_leader else "slave",
            "leader_node": node.leader or 0,
            "leader_address": node.leader_address or "",
            "term": status.term,
            "commit_index": status.commit_index,
            "applied_index": status.applied_index,
            "revision": db.revision,
        },
        "Keyspace": {"db0": f"keys={len(db)},expires={db.with_deadline},avg_ttl=0"} if len(db) else {},
    }


def _resident_bytes() -> int:
    """What the process takes of the machine's memory."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux: the most that it ever took
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
