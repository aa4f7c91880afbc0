"""The kernel: a Linux in user space, on one engine, in one thread."""
