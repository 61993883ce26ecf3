"""What is measured, against whom. `scripts/bench` runs it; RESULTS.md is what it wrote last."""
