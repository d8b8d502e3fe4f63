"""Answers kept to be given again: to equal requests, and to questions verified to mean the same."""
