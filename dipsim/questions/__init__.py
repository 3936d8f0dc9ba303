"""What would be better: questions that take runs of their own to answer."""
