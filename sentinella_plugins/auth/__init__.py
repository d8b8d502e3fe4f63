"""Who calls: keys, and what they prove."""
