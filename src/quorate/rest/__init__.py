"""What the HTTP faces share below them: requests read strictly, answers and refusals as plain values.

::

    http      what a resource and the web layer say to each other
    params    the parameters of a query
    heads     the headers of a request; versions as ETags
    json      the JSON of a body
    times     moments as clients write and see them
    events    server-sent events
"""
