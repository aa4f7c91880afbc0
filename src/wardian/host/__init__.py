"""Everything done to the host around a sandbox: launching, confinement, limits."""
