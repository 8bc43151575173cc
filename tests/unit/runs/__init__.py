"""Tests of `byteord.runs`."""
