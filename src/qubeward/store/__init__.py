"""State on disk: group commit, undo when it fails, and loading."""
