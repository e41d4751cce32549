"""Storage: what is kept where, how it grows, and what it costs."""
