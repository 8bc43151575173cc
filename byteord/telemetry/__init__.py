"""Logs, events, metrics and the service manager."""
