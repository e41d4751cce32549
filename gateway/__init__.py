"""The gateway: REST and WebSocket API, authentication, requests as events, read models. See README.md."""
