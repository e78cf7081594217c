"""The warm engine: Prefect's own engine, forked from a process that has everything imported.

`server` holds the imports and does nothing but fork; `launcher` is what the process work pool runs
as its `command`; `adr/0007-warm-engine.md` tells why it is built this way. The launcher imports
this package on its way to `protocol`, so nothing may be imported here.
"""
