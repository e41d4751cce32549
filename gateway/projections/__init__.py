"""Read models: made from facts in the order of their positions; dropped and rebuilt by replay at any time."""
