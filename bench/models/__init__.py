"""Where weights come from: a package, the hub, a path, or a random shape; and their checksums."""
