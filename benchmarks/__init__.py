"""Side by side with what a user would pick instead: same bytes, same disk, interleaved runs, medians."""
