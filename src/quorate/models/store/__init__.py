"""How objects are kept: in which columns, tables and indexes of the SQLite file."""
