"""Bytes and records on disk."""
