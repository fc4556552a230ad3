"""The local Pub/Sub: a gRPC server that Google's unmodified clients talk to."""
