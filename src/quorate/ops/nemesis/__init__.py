"""The nemesis: a cluster of real processes under real faults, judged by what its clients were told.

``schedule`` draws from a seed which faults happen when, ``faults`` does them to the processes of ``cluster``, while
``clients`` use the declarations of ``app`` and write everything down in a ``record``. Between its rounds ``run`` heals
everything and demands progress, and ``judge`` goes through the record. Nothing of this is a way into a node that an
operator runs: faults that take help from inside are done by ``node``, another program that starts the same one.
"""
