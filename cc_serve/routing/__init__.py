"""From a text's language to its connection."""
