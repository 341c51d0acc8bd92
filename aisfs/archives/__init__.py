"""What lies in a shard: its members as a tree, and their bytes."""
