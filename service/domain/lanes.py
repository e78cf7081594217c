"""The lanes on which MinIO tells of an object; how a lane reaches us is the lake's matter."""

# As the webhook's URL, the ledger and the metrics spell them.
FAST = "fast"
DURABLE = "durable"
WEBHOOK_LANES = (FAST, DURABLE)
