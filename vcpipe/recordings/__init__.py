"""What happens between a raw recording and the rows of an audio shard."""
