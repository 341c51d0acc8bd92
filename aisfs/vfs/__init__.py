"""What the mount means, free of the kernel binding."""
