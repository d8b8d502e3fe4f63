"""Chooses the model of a call that leaves the choice to the gateway."""
