"""Run requests: one run admitted, resolved and started per message."""
