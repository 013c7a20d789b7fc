"""What is counted, timed and logged of each request."""
