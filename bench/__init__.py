"""Measures hopward beside its peers: CPU time per unit of work, rounds interleaved.

Law: a number is only quoted as a ratio of subjects measured in the same run. Absolute figures drift
by 10-15 % on one machine, and mean nothing on another.
"""
