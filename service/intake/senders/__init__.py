"""One module per sender: its shape, recognized by the body alone.

Each function takes a parsed body, and answers None where the body is not of its sender's shape.
Names of events are translated into S3's, so that the ledger knows one vocabulary.
"""
