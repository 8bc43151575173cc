"""The small parent process of one run's workers."""
