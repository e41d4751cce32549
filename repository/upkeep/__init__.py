"""Keeping tiers whole: checked, caught up, repaired."""
