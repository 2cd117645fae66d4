"""Soft-VC with pitch and dynamics: soft units through an acoustic model that hears both. Source: arXiv 2111.02392."""
