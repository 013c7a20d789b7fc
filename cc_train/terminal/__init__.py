"""What `cc-train` shows at a terminal: notes, progress bars and tables."""
