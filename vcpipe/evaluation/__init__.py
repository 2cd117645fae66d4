"""Judges: what was understood, and whose voice it was."""
