"""What lies on a tier, byte by byte: how each thing is written and read back."""
