"""Processors: one file per `ps_type`, at the path of its name."""
