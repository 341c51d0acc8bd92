"""Archives: members read, listed and added."""
