"""Bad input through the real command: each mistake a clear error, nothing lost, no traceback."""
