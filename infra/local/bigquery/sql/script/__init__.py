"""Scripts: several statements, variables, control flow, transactions."""
