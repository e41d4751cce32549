"""The executor: decides about backup runs and does them."""
