"""What the server counts, and how monitoring reads it: families, numbers that workers share, the endpoint."""
