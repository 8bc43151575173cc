"""Tests of byteor, one directory per layer."""
