"""Run directories in shared memory: create, attach, read, sweep."""
