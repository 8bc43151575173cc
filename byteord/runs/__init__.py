"""The life of runs: placement, start, supervision, stop."""
