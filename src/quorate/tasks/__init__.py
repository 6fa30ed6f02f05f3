"""The third face: tasks that are done by workers, none lost and none leased twice at a time.

::

    lifecycle     states, events and guards: one table
    commands      what stands in the log; machine applies it to store/ (tables of the group's SQLite file)
    submission    what a caller asks for, checked before it gets into the log
    broker        what a node does for its callers: propose, wait, read; feed tells of changes
    clockwork     on the leader: proposes what is due; cron says when
    declaration   ``@app.task``
    rest/         the same over HTTP; client/ speaks it from programs without a node
    worker/       runs tasks, on a node or far from one
    daemon/       operations placed on nodes, and a cluster as its manager sees it
"""
