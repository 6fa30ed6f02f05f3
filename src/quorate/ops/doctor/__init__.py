"""What is wrong with a cluster, why, and the command that mends it.

::

    looking ── asks every node twice ──►  Evidence  ──►  checks: one function for each thing that may be wrong
    inspect ── reads a data directory ──►     │                     │
                                              └── plain values      └──► Finding: severity, what, cause, mend

Checks see nothing but the evidence, so each can be shown any cluster that one can think of.
"""
