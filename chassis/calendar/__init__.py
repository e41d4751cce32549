"""When something is due by a calendar: cron expressions, time zones, windows, blackouts. Pure."""
