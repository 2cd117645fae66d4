"""Vocoders: shapes, losses, training and published weights."""
