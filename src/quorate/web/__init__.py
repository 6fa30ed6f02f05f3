"""What the HTTP faces share: the one-port front door, app assembly, redirects to the leader, problems, status, docs."""
