"""Which recovery points stay and which go, and why: pure functions over plain values, for all who have to say it."""
