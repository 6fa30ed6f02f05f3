"""Face 2: a key-value store on the replicated log that speaks the Redis protocol.

``values`` and ``keyspace`` are the data in memory; ``commands`` change and read them, one function per command,
declared in ``registry``; ``machine`` applies them from the log; ``resp`` is the protocol, and ``server`` the clients.
"""
