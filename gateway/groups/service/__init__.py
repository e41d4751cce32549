"""What is open without a token: health, and the API's description."""
