"""The relocatable aarch64 tree: a loader, libraries, Python and the runtimes, the same on every 64-bit Arm kernel."""
