"""Long runs that try to lose mail."""
