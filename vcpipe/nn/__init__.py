"""Networks, without anything of corpora, shards or configs."""
