"""From a sender's bytes to a commit in the ledger. No HTTP here."""
