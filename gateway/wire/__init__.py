"""The HTTP server: its sockets and connections, their limits, and the layer around every answer."""
