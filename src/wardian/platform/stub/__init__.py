"""The stub engine: guests run natively in host processes that carry
a small C stub (design D1-D10)."""
