"""hopward: a TLS-terminating reverse proxy."""

VERSION = "0.1.0"
