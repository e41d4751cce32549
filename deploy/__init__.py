"""How the platform is run: the embedded stack, and the configuration of its parts."""
