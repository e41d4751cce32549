"""The bus: the one connection, streams and consumers, handlers, dead letters."""
