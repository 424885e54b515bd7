"""The parts of scripts/architecture-table and scripts/engine-controls: each class made small."""
