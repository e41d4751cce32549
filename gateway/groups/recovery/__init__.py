"""Recovery: what can be restored, and restores."""
