"""Tasks in the group's SQLite file: one module for each thing that happens to them."""
