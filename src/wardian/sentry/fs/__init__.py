"""The file systems and the special files; ``vfs`` has what they have in common."""
