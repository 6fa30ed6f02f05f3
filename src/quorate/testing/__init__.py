"""The public test kit: whole clusters in one process, and the suites that ports of your own must pass."""

from quorate.testing.cluster import Side, TestCluster

__all__ = ["Side", "TestCluster"]
