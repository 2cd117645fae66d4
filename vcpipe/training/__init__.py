"""The training loop, its state, and the run folder."""
