"""What Prometheus scrapes of a node. Imported at the first scrape, and never by what is measured.

Each subject is a function that reads the node as it is at that moment: nothing is kept here between two scrapes.

::

    families     how a number of ours becomes one of Prometheus'
    consensus    term, leader, members, elections, proposals
    log          the log, its syncs, snapshots, the disk
    peers        what goes to and comes from the others
    process      the event loop
    models, kv, tasks, http    the faces
    registry     all of them, in the text that the scraper asks for
"""
