"""The status page, and the document it is drawn from."""
