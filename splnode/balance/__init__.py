"""One service on many nodes: which of them gets a call, which gets none for a while, and what is tried again."""
