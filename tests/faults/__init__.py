"""Faults of origins and clients, and tokens that show whose bytes are whose."""
