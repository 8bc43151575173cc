"""Properties, checked with generated cases."""
