"""Everything over HTTP that is not a model call: gathers the rooms' routes into one application."""
