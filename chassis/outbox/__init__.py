"""From the record to the stream: each event once, in order, without gaps."""
