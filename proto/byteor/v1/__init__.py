"""Generated API of byteor, version 1."""
