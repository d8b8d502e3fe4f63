"""Tenants and their hard limits."""
