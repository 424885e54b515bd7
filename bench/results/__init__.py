"""What a finished run says: its summary, its proof, and how it differs from another."""
