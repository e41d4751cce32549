"""Monitoring: the WebSocket's door, and the ticket for it."""
