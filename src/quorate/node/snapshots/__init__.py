"""Cutting the log, and bringing a snapshot of the state to those who lack what was cut.

::

    compaction   decides how far the log may be cut, and makes the state durable before it is
    outgoing     snapshots ready to be sent, shared by the peers that need one at the same time
    sender       who needs one, and how many at a time; one transfer is in transfer
    receiver     takes one in, verifies it, and hands it to installation
    installation puts it in place of the log and the state
    service      all of this as the node sees it
"""
