"""Features: one file each, from recordings to frames."""
