"""Tasks over HTTP, below ``/api/v1``: plain requests in, plain answers out; the web layer does the rest.

::

    resource      which request is which; refusals: how they are answered
    bodies        what requests say, decoded straight into structs; payloads: JSON that is kept as it came
    submitting    tasks and schedules come
    reading       what there is of tasks, queues, workers, schedules
    operating     cancel, retry, pause, purge
    working       what workers do: claim, heartbeat, report
    watching      the changes as they come, as server-sent events
    patience      long waits, which end when the node stops
    openapi       the description; paths, schemas
"""
