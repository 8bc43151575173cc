"""A worker process: the roles it hosts and the batch API of Python stages."""
