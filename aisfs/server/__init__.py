"""The embedded AIS-compatible store."""
