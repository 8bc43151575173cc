"""The adapter catalogue and the opening of sources and sinks."""
