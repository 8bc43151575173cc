"""Policy, approvals, key sets and audit, each by itself."""
