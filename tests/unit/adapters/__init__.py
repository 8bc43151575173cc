"""Adapters, each driven alone over the real thing."""
