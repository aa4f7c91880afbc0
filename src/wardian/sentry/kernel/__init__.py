"""Tasks and what they do: clone, exec, signals, exit, wait, and the waiting itself."""
