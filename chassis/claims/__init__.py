"""Claims with a fence: work that waits in a table, taken by one worker at a time, whoever dies meanwhile."""
