"""Events from queues: a queue forgets a message only after the ledger's commit that holds it.

Each kind of queue is one `Source`; `Consumer` is the same for all of them.
"""
