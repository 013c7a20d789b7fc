"""What the server's processes show of themselves, and what this machine can do."""
