"""The memory: its file, its writer, what it is asked."""
