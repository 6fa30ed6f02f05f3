"""State machines on the log: the contract, the router, exactly-once requests, log time, the SQLite-backed state."""
