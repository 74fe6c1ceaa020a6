"""What several workers share besides mail: MTA-STS policies and trust points."""
