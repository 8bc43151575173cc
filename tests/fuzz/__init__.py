"""Parsers and openers on hostile bytes."""
