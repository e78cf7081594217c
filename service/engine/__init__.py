"""The warm engine: Prefect's own engine, forked from a process that has everything imported.

`server` holds the imports and only forks; `launcher` is what the process work pool runs as its
`command`; `adr/0007-warm-engine.md` gives the reasons for this design. The launcher imports this
package on its way to `protocol`, so this file must not import anything.
"""
