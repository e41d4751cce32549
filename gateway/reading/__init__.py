"""How read models are read: a fair share of the connections, page by page, with others having their turn."""
