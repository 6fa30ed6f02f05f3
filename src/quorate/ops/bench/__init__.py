"""Measuring a cluster of real processes: a lean closed-loop load generator, what it sends, and how it is reported."""
