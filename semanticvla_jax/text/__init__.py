"""Instructions to token ids: the shipped vocabulary, or the original ones from a path."""
