"""The ledger: one line for every call that reached a model, and what they add up to."""
