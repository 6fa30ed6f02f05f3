"""``quorate chaos``: a cluster under load and faults, judged by what its clients were told.

``load`` uses the key-value store, which every node has, through ``keys``; a ``target`` is the cluster, running
somewhere or brought along, and what can be done to it; ``scenarios`` say what is done when. ``run`` puts them together,
``readback`` looks at the end what every node holds, and ``report`` says what it was worth: ``page`` shows it.
"""
