"""The ``quorate`` command: thin, one file per subcommand."""
