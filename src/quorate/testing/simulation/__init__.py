"""The deterministic simulator: whole clusters in virtual time, with every fault there is, from one seed.

Everything that a node consists of is real; only its clocks, its network and its disk are simulated. One seed draws
the cluster, the faults and what clients do, and decides the order of everything that happens, so a failure found once
can be looked at as often as one likes::

    report = run_seed(1234, tell=print)
    assert report.failure is None

A run has two halves. First anything may go wrong, and after every step the invariants of
:mod:`~quorate.testing.simulation.invariants` must hold. Then a quorum is healed, and has to come to life, end every
request, agree on one state, and justify what the clients were told.

::

    swarm           what a seed stands for; simulation is one run of it, runner many; report, what became of them
    loop            virtual time
    network, disk   the world; transport and sqlite_state, a node's ends of it
    host            a machine and the process on it, with its state machines: notebook, keys, models
    faults/         what goes wrong; administrator and rollout, who changes the membership and the app
    clients         those who ask; workloads/, what they do and what must be true of what they were told
    invariants      what must hold after every step (of membership and reads, too), by what evidence and knowledge say
    liveness        the second half
    trace           what happened
    mutation/       brings known bugs back, to see whether all of this finds them
"""

from quorate.testing.simulation.invariants import Violation
from quorate.testing.simulation.report import Report, Summary
from quorate.testing.simulation.runner import run_seeds
from quorate.testing.simulation.simulation import Simulation, run_seed
from quorate.testing.simulation.swarm import Plan, draw

__all__ = ["Plan", "Report", "Simulation", "Summary", "Violation", "draw", "run_seed", "run_seeds"]
