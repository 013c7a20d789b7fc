"""What a run leaves for people: report, pictures and model card."""
