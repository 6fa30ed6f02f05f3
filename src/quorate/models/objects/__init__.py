"""Models in Python: their objects created, read and changed through a node of this process."""
