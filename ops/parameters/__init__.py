"""Parameters in the Parameter Store, `/{env}/{app}/{name}`.

`plan` decides from the catalogue of a stack file and from what is there; `store` lists and writes;
`generate` makes the values of secrets. None needs more than boto3 and pydantic.
"""
