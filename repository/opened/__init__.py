"""An open repository and its tiers."""
