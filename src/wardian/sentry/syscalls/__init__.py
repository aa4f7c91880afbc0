"""The table, the handlers by area, and what the generator makes of both."""
