"""What should happen: decisions over frozen values, with no I/O, no clock and no git."""
