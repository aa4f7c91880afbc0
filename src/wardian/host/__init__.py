"""Everything done to the host around a sandbox: launching, confinement, seccomp policies, limits."""
