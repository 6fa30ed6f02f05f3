"""State machines on the log: the contract, the router, exactly-once requests, log time, the SQLite-backed state.

::

    contract    what a state machine is, and what it is given
    commands    what an entry holds; outcome, how each of its commands ended
    router      gives each machine its commands, by way of its host, who knows the requests of before (sessions)
    joint       commands that several machines carry out together or not at all
    flushing    brings what was applied into the file of sqlite; cached, machines that are written there bit by bit
    queries     reads that may take long, few at one time (turns)
    latecomers  machines that a program brings to a log which others have been on for long
    identifiers ids that are made before anything is in the log
    capture     one moment of all machines, for a snapshot; copies, those of the file
    digest      equal where the states are
    garbage     keeps the interpreter from searching large states
"""
