"""What every connection, request and answer is held to, whatever it is about."""
