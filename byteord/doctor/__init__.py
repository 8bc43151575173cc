"""Whether this host is ready for a profile: checks that read, measurements, rendered fixes."""
