"""A cluster from outside: run, asked, changed, attacked, measured and judged.

::

    local_node, local_cluster     nodes as processes on this machine (local_process, tether, ports, interrupts)
    local_worker, first_task      the same of workers, and a task's way through a cluster
    http, cluster_status, rows    asking nodes over HTTP; task_changes, being told
    members, recover              changing who belongs to a cluster: while it works; after the loss of a majority
    recoveries                    what tells of that later
    inspect/                      what is in a data directory
    shop, shop_client, writers    the example and its clients; history is what they were told, checker judges by it
    demo, story, bench/           what uses those: to be tried, to be told, to be measured
    nemesis/                      real faults under load, and its own clients and judge
"""
