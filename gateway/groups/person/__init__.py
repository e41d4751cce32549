"""The person who asks."""
