"""Validations: the tiers of a recovery point, read without restoring anything, as claimed work beside recoveries."""
