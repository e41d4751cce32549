"""Repairs: what is damaged on an organisation's tiers is made whole, as claimed work beside runs."""
