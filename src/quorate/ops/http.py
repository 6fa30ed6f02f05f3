"""The HTTP client that tools ask nodes with."""

from quorate.rest.http_client import HttpClient, NotSent, RequestFailed, Response, Unanswered

__all__ = ["HttpClient", "NotSent", "RequestFailed", "Response", "Unanswered"]
