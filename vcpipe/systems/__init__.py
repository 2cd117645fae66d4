"""The systems: one folder each, which do not see one another."""
