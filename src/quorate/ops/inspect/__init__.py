"""Looking into the data directory of a node without changing a byte of it, whatever state it is in."""
