"""What the gate's proof plants: models and an engine that do more work, and gates that are built wrong."""
