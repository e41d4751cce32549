"""Holds: recovery points that stay, whatever a policy says."""
