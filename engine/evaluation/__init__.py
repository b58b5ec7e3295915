"""Reports, comparisons and explanations of finished runs. Torch-free: pages import all of it."""
