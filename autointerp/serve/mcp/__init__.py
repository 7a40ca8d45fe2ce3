"""The Model Context Protocol: a run's features as tools of an agent, which only read.

`server` speaks the protocol over standard input and output, `tools` answers by the library's client, `arguments` and
`replies` are the shapes.
"""
