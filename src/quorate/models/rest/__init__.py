"""The models over HTTP: requests in, answers out."""
