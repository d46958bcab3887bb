"""Coverage-guided fuzzing of the pure rooms: octets in, laws that hold for any octets."""
