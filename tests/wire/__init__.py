"""The wire corpus: messages as bytes, beside what must come of each."""
