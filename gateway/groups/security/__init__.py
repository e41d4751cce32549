"""Who did what, and the audit log that proves it."""
