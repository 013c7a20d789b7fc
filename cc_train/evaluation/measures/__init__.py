"""How well an answer matches, by kind of task."""
