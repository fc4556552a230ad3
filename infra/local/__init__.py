"""A real local cloud: servers on loopback that speak the protocols of Google's clients."""
