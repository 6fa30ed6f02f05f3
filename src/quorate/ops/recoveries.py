"""What :mod:`quorate.ops.recover` leaves in a data directory for those who come later: a record of each time."""

from __future__ import annotations

import json
from pathlib import Path

RECOVERY_RECORDS = "recovered-*.json"
"""What their names look like."""


def recoveries_told(data_dir: Path) -> list[str]:
    """One line on each recovery that a data directory has behind it, for the log of a node that starts with it."""
    lines = []
    for path in sorted(data_dir.glob(RECOVERY_RECORDS)):
        try:
            record = json.loads(path.read_text())
            dropped = [
                member["node_id"]
                for member in record["before"]["configuration"]["members"]
                if member["node_id"] != record["node_id"]
            ]
            lines.append(
                f"this cluster was recovered by force from node {record['node_id']} at {record['time']} by "
                f"{record['by']}, without node(s) {', '.join(map(str, dropped)) or '-'}: see {path}"
            )
        except (OSError, ValueError, KeyError, TypeError):
            lines.append(f"this cluster was recovered by force; the record of it cannot be read: {path}")
    return lines
