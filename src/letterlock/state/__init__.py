"""State that workers share besides mail: MTA-STS policies and trust points. `shared_state` opens it."""
