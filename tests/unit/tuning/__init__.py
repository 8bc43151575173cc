"""Tuning: topology, plan, read back."""
