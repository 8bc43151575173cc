"""Damaged input for every parser."""
