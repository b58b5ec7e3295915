"""Starting points: the catalogue and its weights (no torch), and the networks built from them (torch)."""
