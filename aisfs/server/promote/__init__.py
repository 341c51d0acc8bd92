"""Promotion: files on this machine become objects. Off unless a root for it is given."""
