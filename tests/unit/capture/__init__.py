"""Files and redaction of incident bundles."""
