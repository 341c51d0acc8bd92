"""Bytes not yet stored."""
