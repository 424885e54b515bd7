"""Where models come from (a package, the hub, a path or random weights), and how their files are checked."""
