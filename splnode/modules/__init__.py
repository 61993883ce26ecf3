"""Modules: Python files that are called by a URI, package/api/method."""
