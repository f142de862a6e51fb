"""The inside of an ExecuTorch program (.pte): its program, XNNPACK's graphs and the weights, rebuilt as a module."""
