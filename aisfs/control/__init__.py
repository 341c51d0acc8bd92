"""The cluster's own verbs, as files and attributes."""
