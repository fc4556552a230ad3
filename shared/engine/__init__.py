"""Runs: messages, steps, outcomes. Every part may run twice, late, or die at any line."""
