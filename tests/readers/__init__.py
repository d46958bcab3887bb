"""Servers as people run them, behind the proxy: how each of them understands what is forwarded."""
