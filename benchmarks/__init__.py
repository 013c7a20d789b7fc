"""What is measured of this project: engine, front end, start, training and routing, each a command."""
