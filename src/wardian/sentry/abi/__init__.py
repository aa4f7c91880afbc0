"""Numbers that belong to Linux's ABI and to no single module."""
