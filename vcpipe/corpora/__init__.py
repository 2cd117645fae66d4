"""Corpora: one file each, which lists the recordings of one official layout."""
