"""Replays on this side: sources sent to the daemon, results shown."""
