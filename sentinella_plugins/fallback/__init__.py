"""Plans the attempts of a call: which model next, after which wait, and which models to leave alone."""
