"""Compiled extensions: regions, rings, worker loops, stages, adapters."""
