"""Entry point of the Pulumi program: `pulumi preview -s dev`."""

from infra.program import main

main()
