"""Programs that write projects, to be killed and to run out of disk."""
