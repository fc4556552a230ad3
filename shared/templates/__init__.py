"""Templates: YAML read once, compiled once, resolved for each tenant and date."""
