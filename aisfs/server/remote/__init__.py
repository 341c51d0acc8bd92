"""Remote buckets: where their objects come from, and the copies of them that this store holds."""
