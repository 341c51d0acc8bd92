"""The kernel binding: the only importer of pyfuse3."""
