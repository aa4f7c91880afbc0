"""What all file systems share: mounts, path walk, inodes, open files, locks, permissions."""
