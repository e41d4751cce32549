"""The WebSocket: facts and progress to everybody who watches."""
