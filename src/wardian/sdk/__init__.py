"""What stands behind the public Python API: both ends of its connection to a sandbox."""
