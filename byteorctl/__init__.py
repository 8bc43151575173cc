"""The command line client of byteor."""
