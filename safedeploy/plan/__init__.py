"""A plan before training: what a sparsity buys on each runtime, what it cannot buy, and a check by measuring."""
