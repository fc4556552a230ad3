"""One port for all functions, by the topology's routes."""
