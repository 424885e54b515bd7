"""Plants for the gate's proof: models and an engine that do more work, and gates that are built wrong."""
