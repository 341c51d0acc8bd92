"""Bytes already read."""
