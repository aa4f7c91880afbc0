"""The command line: one module per command, found by ``cli.main``. Starts fast, imports late."""
