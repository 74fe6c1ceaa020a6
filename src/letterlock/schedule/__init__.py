"""When a message is tried: leasing, slots by next hop, backoff for what is down, and the loop that runs them."""
