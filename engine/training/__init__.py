"""Training: dry run, phases, loop, checkpoints. No prints; reports through `emit`, asks `wish` between steps."""
