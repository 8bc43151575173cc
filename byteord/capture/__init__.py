"""What is kept of runs for those who come after: incident bundles."""
