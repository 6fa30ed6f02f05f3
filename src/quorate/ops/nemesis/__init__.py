"""The nemesis: a cluster of real processes under real faults, judged by what its clients were told.

``schedule`` draws from a seed which faults happen when, ``faults`` does them to the processes of ``cluster``, while
``clients`` use the declarations of ``app`` and write everything down in a ``record``. Between its rounds ``run`` heals
everything and demands progress, and the judge of :mod:`quorate.ops.calls` goes through the record. It goes further than
:mod:`quorate.ops.chaos`, which does to a cluster what an operator lets it: its nodes are started by another program,
``node``, and their data is damaged and lost.
"""
