"""The spec and deployment documents, without any process."""
