"""Objects: reading, writing, appending, multipart upload."""
