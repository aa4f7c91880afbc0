"""Guest memory, as far as the host does not see to it: programs, file mappings, copying."""
