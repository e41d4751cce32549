"""Validations: tiers of recovery points, read without restoring anything."""
