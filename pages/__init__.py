"""Pages: what the browser shows. They import the torch-free engine only."""
