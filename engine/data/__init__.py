"""Projects, pictures and labels: what is in the database, and the pictures that go with it. Torch-free."""
