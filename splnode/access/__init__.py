"""Who may call what: the policy, the tokens, the guard that asks both, and the log of what it said."""
