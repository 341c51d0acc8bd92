"""Buckets: their requests, properties, permissions and listings."""
