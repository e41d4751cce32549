"""A look at the places of a configuration before anything is backed up."""
