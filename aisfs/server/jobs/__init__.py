"""Jobs: their table, their requests, work on many objects."""
