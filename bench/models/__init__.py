"""Find models (in a package, on the hub, at a path, with random weights), fetch them, check their files."""
