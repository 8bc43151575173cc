"""What daemon and client both read and check: approvals, key sets, audit logs.

Owns formats and their verification, each in one place, so that what `byteorctl` says of a file
offline is what the daemon would do with it. Pure but for reading the files it is told to read; it
must not know where anything is configured.
"""
