"""Approvals and key sets on the client's side: everything offline but the hashes of a request."""
