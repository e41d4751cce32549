"""Where each chunk is: segments, and the packs that they speak of."""
