"""Programs that do tasks.

::

    source        who hands tasks out: a client of a cluster, or the broker of a node in this process
    worker        puts the parts together; drains
    enlisting     coming and going: what a worker says of itself
    claiming      fetches tasks; pace, how many ahead of what is free
    leases        what this worker has; heartbeats prolong them
    running       one job: on the loop, in threads, or in processes that can be killed (child, frames to and from it)
    calling       calls its function, wherever that is; outcomes, how it ended
    reporting     says how jobs ended, many at a time
    job           what a handler sees: current(), effects, Reject, RetryLater
    hosting       a worker inside of a program
    health        asks handlers whether they can work at all
    middleware/   hooks, and those that come with them
"""

from quorate.tasks.worker.hosting import WorkerOptions
from quorate.tasks.worker.job import Effects, Job, Reject, RetryLater, current
from quorate.tasks.worker.middleware import AgeLimit, Metrics, Middleware, Retries, TimeLimit, Tracing
from quorate.tasks.worker.source import BrokerSource, Source
from quorate.tasks.worker.worker import Worker

__all__ = [
    "AgeLimit",
    "BrokerSource",
    "Effects",
    "Job",
    "Metrics",
    "Middleware",
    "Reject",
    "Retries",
    "RetryLater",
    "Source",
    "TimeLimit",
    "Tracing",
    "Worker",
    "WorkerOptions",
    "current",
]
