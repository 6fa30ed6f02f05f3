"""The third face: tasks that are done by workers, none lost and none leased twice at a time.

::

    lifecycle     states, events and guards: one table; reference draws it for people
    commands      what stands in the log; machine applies it to store/, tables of the group's SQLite file
    limits        bounds on all of it; errors, how requests are refused, and codes, how programs tell that over HTTP
    submission    what a caller asks for, checked before it gets into the log; durations, as people write them
    broker        what a node does for its callers: propose, wait, read; effects, on what is not of tasks
      gathering   submits of many callers in one command
      dispatching claims that wait at this node until there is something to do
      reading     the state, as records; feed tells of its changes
    clockwork     on the leader: proposes what is due; cron says when, declared_schedules what programs declare
    declaration   ``@app.task``; arguments, what its annotations check; sending, what can be said of one task;
                  gateways, where tasks are sent to, and handles on those that were
    rest/         the same over HTTP; client/ speaks it from programs without a node
    worker/       runs tasks, on a node or far from one
    daemon/       operations placed on nodes, and a cluster as its manager sees it
"""
