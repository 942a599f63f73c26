"""What outlives the engine: lists, penalties, comments."""
