"""An organisation's repository, opened: from the names in a configuration to stores, keys and one open repository."""
