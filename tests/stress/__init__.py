"""Stress: the native headers under many interleavings, with and without sanitizers."""
