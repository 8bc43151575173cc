"""Workers killed at any moment."""
