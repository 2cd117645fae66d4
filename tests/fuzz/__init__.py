"""Damaged recordings and random shards in any number: `python -m tests.fuzz --files 1000 --shards 10000`."""
