"""What product owners read: where payments fail, what drives it, what its removal would gain, and experiments."""
