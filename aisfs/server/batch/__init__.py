"""GetBatch: many objects and members in one answer."""
