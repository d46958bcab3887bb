"""Small backends for `make run`, used where the real ones do not answer."""
