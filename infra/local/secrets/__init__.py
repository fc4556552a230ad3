"""Secret Manager: secrets, their versions, their payloads."""
