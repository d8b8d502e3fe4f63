"""Sentinella: an enterprise AI gateway on the LiteLLM proxy."""
