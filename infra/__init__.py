"""What is deployed around the functions: topology, bundles, the local cloud."""
