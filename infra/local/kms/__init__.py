"""Cloud KMS: symmetric keys, their versions, encryption with checksums."""
