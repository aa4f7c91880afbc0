"""strace(1) from the inside: system calls printed as the Sentry sees them.

Nothing here runs, and no guest memory is read for it, unless tracing was asked for.
"""
