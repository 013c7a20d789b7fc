"""What a run leaves for people to read: report, pictures and model card."""
