"""Where trio meets the SDK."""
