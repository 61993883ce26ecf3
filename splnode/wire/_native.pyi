"""The C extension's face: the native call engine. Its sources are in `native/`."""
