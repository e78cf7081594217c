"""The background jobs of the service, each one pass around one loop."""
