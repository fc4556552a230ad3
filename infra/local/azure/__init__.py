"""Azure on this machine: the Query API of Cost Management, and Azurite for Blob Storage."""
