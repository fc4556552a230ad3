"""The product: everything the functions do, in layers that depend downward only."""
