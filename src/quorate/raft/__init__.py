"""The consensus core: Raft as a pure function of its inputs.

No asyncio, sockets, files, clocks, randomness, threads or logging: messages, ticks and proposals go in,
:class:`~quorate.raft.output.Output` comes out. The same state and the same input give the same output.

Section numbers (§) refer to "In Search of an Understandable Consensus Algorithm" (Ongaro, Ousterhout 2014);
"thesis" is Ongaro's "Consensus: Bridging Theory and Practice".
"""
