"""Generated API of byteor."""
