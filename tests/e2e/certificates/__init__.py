"""Certificates through whole lifetimes and bad days, against a real test CA."""
