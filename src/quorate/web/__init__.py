"""A node's ports and its site: the one-port front door, app assembly, redirects to the leader, problems, status, docs.

::

    server        a node with its faces on one port; listening and open_files, what that takes of the system
    front_door    whom a connection is meant for: peers, redis_door, HTTP; direct, requests that need no ASGI;
                  held, how much memory all clients together may take
    site          what is served over HTTP: models (model_resources), tasks, status (statistics), and the pages
    pages         what is asked for rarely: members, docs (openapi), admin_sql
    elsewhere     who serves the models while this node cannot
    problems      errors as answers; answers, asgi and whole_response, how answers are sent
"""
