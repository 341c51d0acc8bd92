"""Storage jobs: second copies, repair, eviction by age, and what needs no work in this store."""
