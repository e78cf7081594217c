"""One module a sender: its shape, told from all others by the body alone.

Each function takes a parsed body, and answers None where the body is not of its sender's shape.
Names of events are put into S3's words, so that the ledger asks for one vocabulary.
"""
