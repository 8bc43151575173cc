"""Incident bundles on this side: fetched, checked and summarised offline."""
