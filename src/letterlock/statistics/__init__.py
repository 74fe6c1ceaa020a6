"""What became of deliveries, by destination and over time: counted, kept in roll-ups, and summed up."""
