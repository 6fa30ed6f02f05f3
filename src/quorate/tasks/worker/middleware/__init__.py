"""Hooks of a worker, and those that come with it."""

from quorate.tasks.worker.middleware.base import Hooks, Middleware
from quorate.tasks.worker.middleware.limits import AgeLimit, TimeLimit
from quorate.tasks.worker.middleware.metrics import Histogram, Metrics
from quorate.tasks.worker.middleware.retries import Retries
from quorate.tasks.worker.middleware.tracing import Span, Tracing

__all__ = ["AgeLimit", "Histogram", "Hooks", "Metrics", "Middleware", "Retries", "Span", "TimeLimit", "Tracing"]
