"""What an operator registers: the places that organisations may use, their credentials, the organisations."""
