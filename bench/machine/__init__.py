"""Facts about the machine: what it is, and what disturbs measurements on it."""
