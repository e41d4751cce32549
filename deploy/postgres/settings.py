"""The server's settings, for the embedded stack on the command line; a managed server wants the same ones.

What protects the record: `fsync`, `full_page_writes` and `synchronous_commit` stay on, checksums are
switched on when the cluster is made.
"""

ADMIN_ROLE = "wedsync_admin"
DATABASE = "wedsync"

SETTINGS: dict[str, str] = {
    "listen_addresses": "127.0.0.1",
    # No socket file: it would need a short path in a folder that other users may enter.
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # The record is to be shipped and restored to a point in time.
    "wal_level": "replica",
    "summarize_wal": "on",
    # The platform's own processes, and a dozen workers more.
    "max_connections": "200",
    "shared_buffers": "96MB",
    "max_wal_size": "512MB",
    "wal_compression": "lz4",
    # A client that vanished without a word must not hold its locks for hours.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "60s",
    # Short transactions on few rows: just-in-time compilation only adds its start-up.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
    "log_lock_waits": "on",
    # Statements carry sealed values and digests only, but their parameters are nobody's business in a log.
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}
"""Name → value, as `postgres -c name=value` takes them."""
