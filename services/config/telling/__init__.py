"""Who is told of what: notification channels, and each notification on its way."""
