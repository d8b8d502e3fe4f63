"""Prompts with versions, labels and variables, rendered here and used by name in a call."""
