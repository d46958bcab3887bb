"""Automatic certificates over ACME (RFC 8555); imports nothing from `proxy`."""
