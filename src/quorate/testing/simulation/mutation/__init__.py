"""Is the simulator any good? Brings known bugs back, one at a time, and demands that it finds each of them.

``make mutants`` runs it, or ``python -m quorate.testing.simulation.mutation``. A mutant is a small TOML file: a slip
of a line or two in our own code, the bug that this brings back, and within how many seeds a batch has to find it::

    bug = "A vote is given whoever got it before."
    source = "Raft, section 5.2: one vote per term, first come, first served"
    file = "raft/election.py"
    before = "return hard_state.voted_for in (None, candidate)"
    after = "return True"
    seeds = 30

Each runs in a process of its own, on a copy of the package in which nothing else is changed; the unchanged copy has
to pass the same seeds. Not every failure is a catch: code that merely crashes proves nothing about the checks, nor
does code that never works at all.

Some bugs need what few seeds draw: many reads while leaders change, say. Their mutants name a plan, in which that is
not left to chance; everything else still is.

:mod:`.mutant` says what a mutant is, :mod:`.trial` what became of one, :mod:`.laboratory` runs them, and
:mod:`.table` shows them.
"""
