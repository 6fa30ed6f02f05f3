"""The deterministic simulator: whole clusters in virtual time, with every fault there is, from one seed.

Everything that a node consists of is real; only its clocks, its network and its disk are simulated. One seed draws
the cluster, the faults and what clients do, and decides the order of everything that happens, so a failure found once
can be looked at as often as one likes::

    report = run_seed(1234, tell=print)
    assert report.failure is None

A run has two halves. First anything may go wrong, and after every step the invariants of
:mod:`~quorate.testing.simulation.invariants` must hold. Then a quorum is healed, and has to come to life, end every
request, agree on one state, and justify what the clients were told.
"""

from quorate.testing.simulation.invariants import Violation
from quorate.testing.simulation.report import Report, Summary
from quorate.testing.simulation.runner import run_seeds
from quorate.testing.simulation.simulation import Simulation, run_seed
from quorate.testing.simulation.swarm import Plan, draw

__all__ = ["Plan", "Report", "Simulation", "Summary", "Violation", "draw", "run_seed", "run_seeds"]
