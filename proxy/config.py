"""What an operator can say: the configuration as frozen, typed objects.

Law: whoever holds a `Config` holds a valid one. Reading and judging a file is `config_file`.
Durations are seconds, sizes are bytes; `off` is None in both.
"""
