"""The asyncio runtime: one core driven with one storage, one transport and the machines of its group.

::

    node         what a program holds: its life, reads; proposing, what it proposes
    durable      what is on disk, on which assembly builds the parts that take part in the group (running)
    group        drives the core: inputs of one turn of the event loop in, one output carried out
      placement    puts proposals into the log, here or through the leader (proposals, forwarding)
      reads        strong reads, until their index is applied
      applier      committed entries, into the machines
      hearing      who does not answer, though the connection stands
    peers        the node as its transport sees it; address_book before the cluster is formed, roster afterwards
      identity   how it presents itself; wire: what it says
    members      the membership as a program changes it (operations, calls to the leader)
    abstention   keeps votes back for a while where a loss of power may have taken entries
    membership   keeps the node in line with the configuration in the log; on the leader, steward changes it
    snapshots/   cutting the log, and bringing a snapshot to those who lack what was cut
    events, status, conditions   what happens, what is, and waiting for it
    timeline, figures            what happened lately, and what was counted, for people and metrics
    ports        what the faces need of a node
"""
