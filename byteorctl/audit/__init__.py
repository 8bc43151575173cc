"""The audit log on the client's side: copies, their verification, records for people."""
