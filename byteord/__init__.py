"""The byteor supervisor, its shims and its workers."""
