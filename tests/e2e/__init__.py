"""The real daemon and the real client, as processes."""
