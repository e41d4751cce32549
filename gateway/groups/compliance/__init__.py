"""Audits of controls, and their reports."""
