"""One program for each stack: `serve` answers the call, `drive` makes it. See `benchmarks.peer`."""
