"""The sandbox's cloud: moto's server and what it lacks, run by `infra.sandbox.servers`."""
