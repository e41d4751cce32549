"""Requests: what a 202 points to."""
