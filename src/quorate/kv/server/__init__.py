"""The clients: their connections and sessions, and what is gathered of all of them in one turn of the event loop."""
