"""The key-value store in Python: ``node.kv`` of a program that embeds a node.

``strings``, ``hashes`` and so on have a method for each command (``commands``: all of them); ``calls`` is what they
share, ``encoding`` makes bytes of their arguments and ``shapes`` Python values of the replies. ``kv`` carries the calls
out for its ``callers``, ``transaction`` collects them, ``fencing`` puts them under a lock. ``holding`` are
the locks and leases that renew themselves; ``listening`` and ``messages`` who waits for what is applied;
``store`` is all of it within one node.
"""
