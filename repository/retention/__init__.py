"""Which snapshots stay: rules, holds, and the forgetting of what neither asks for."""
