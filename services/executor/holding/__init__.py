"""Holds: recovery points that stay, whatever a policy says; and approvals: what waits for a second person."""
