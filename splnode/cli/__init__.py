"""The shell: one file a command; `main` imports a command's file only when it is called."""
