"""The vocabulary that every other part speaks. Imports nothing of the house."""
