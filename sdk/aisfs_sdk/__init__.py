"""Client SDK for NVIDIA AIStore: synchronous, typed, on requests."""
