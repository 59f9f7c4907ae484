"""An engine that runs a Pulumi program on the sandbox's cloud, behind Pulumi's public seams."""
