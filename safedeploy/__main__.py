"""`python -m safedeploy`."""

from safedeploy.cli.main import main

main()
