"""Parts on their own, with fakes passed in."""
