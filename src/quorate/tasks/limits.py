"""Bounds on what the log is given, and on what one command does to the state. Callers and workers have their own."""

from __future__ import annotations

MIB = 1 << 20

ID_CHARACTERS_MAX = 128
NAME_CHARACTERS_MAX = 100
"""Of queues, types, capabilities and workers."""
UNIQUE_KEY_CHARACTERS_MAX = 256
CRON_CHARACTERS_MAX = 200
CAPABILITIES_MAX = 16
PAYLOAD_BYTES_MAX = 10 * MIB
RESULT_BYTES_MAX = 1 * MIB
ERROR_CHARACTERS_MAX = 4096
"""More of an error is cut off."""
BATCH_TASKS_MAX = 1000
BATCH_BYTES_MAX = 12 * MIB
"""Payloads that are submitted together."""
DEPENDENCIES_MAX = 100
BATCH_DEPENDENCIES_MAX = 5000
"""Of tasks that are submitted together: about 30 ms."""
PRIORITY_MAX = 255
RETRIES_MAX = 1000
QUEUES_MAX = 1000
LANES_MAX = 10_000
"""Combinations of a queue, a type and the capabilities that it takes."""
PENDING_MAX = 1_000_000
"""Tasks that wait in one queue, unless it has a bound of its own."""
WORKERS_MAX = 10_000
SCHEDULES_MAX = 10_000
SCHEDULE_NAME_CHARACTERS_MAX = ID_CHARACTERS_MAX - len("@2026-11-21T06:00:00Z")
"""The rest of the ids of its tasks is their time."""
SCHEDULE_BYTES_MAX = 64 * 1024
"""The payload of a schedule: many may be due at the same moment, and then it is written for each."""
CLAIMED_MAX = 256
"""Leases that one claim gives."""
CLAIMED_BYTES_MAX = 16 * MIB
"""Payloads that one claim gives, unless the first alone is larger."""

SECOND_US = 1_000_000
LATER_US_MAX = 10 * 366 * 86_400 * SECOND_US
"""How far ahead anything may lie: ten years."""
TIMEOUT_MS_MAX = 24 * 3_600_000
LEASE_MS_MIN, LEASE_MS, LEASE_MS_MAX = 1_000, 30_000, 3_600_000
WORKER_LEASES = 3
"""A worker that was silent for so many of its leases is taken for gone."""
RETRIES = 3
BACKOFF_MS = 5_000
BACKOFF_MS_MAX = 3_600_000
RETENTION_MS = 3_600_000
"""How long a task is kept once it has succeeded or was cancelled, unless it says otherwise."""
DEAD_RETENTION_US = 30 * 86_400 * SECOND_US
"""How long dead letters are kept."""

TICK_TASKS_MAX = 250
"""Tasks that one tick changes: about 5 ms."""
FORGOTTEN_BYTES_MAX = 16 * MIB
"""Payloads that one command removes, unless the first alone is larger."""
PURGE_TASKS_MAX = 500
"""Tasks that one purge, or one retry of many, changes."""
