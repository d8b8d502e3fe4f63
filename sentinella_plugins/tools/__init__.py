"""Tools that the gateway runs for a model: registered ones, over HTTP, in Python or on MCP servers."""
