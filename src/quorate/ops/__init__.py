"""Run and judge a cluster from outside: local clusters, the demo's story, benchmarks."""
