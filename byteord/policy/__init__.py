"""Policy: what may happen. Decisions, approvals, audit. Knows no regions, gRPC or event loop."""
