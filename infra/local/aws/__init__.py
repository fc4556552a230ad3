"""AWS on this machine: moto's server, for STS, S3 and Cost Explorer."""
