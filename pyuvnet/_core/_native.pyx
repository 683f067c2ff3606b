"""Names the shared object that holds the core; the modules of LAYERS are loaded out of it."""
