"""The dashboard: pages about the cluster for a browser, served by every node from files of this package.

One page opens a stream to every member (:mod:`~quorate.web.dashboard.live`) and asks for the rest where it is served
already (:mod:`~quorate.web.dashboard.pages`). So it goes on when the node dies that it came from.
"""
