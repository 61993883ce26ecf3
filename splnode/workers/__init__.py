"""A node of several processes: a supervisor, and the workers that answer the calls."""
