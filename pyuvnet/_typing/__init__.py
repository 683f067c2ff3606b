"""What only stubs and type checkers read."""
