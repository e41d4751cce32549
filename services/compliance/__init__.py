"""The compliance service: the audit log of every event, and what it proves."""
