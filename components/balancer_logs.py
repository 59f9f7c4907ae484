"""Where load balancers put their logs in the log bucket, and the grant that lets them. Pure."""

from components.iam_policies import Statement

ACCESS_PREFIX = "elb/access"
"""A line for every request."""
CONNECTION_PREFIX = "elb/connections"
"""A line for every connection: how TLS was agreed on, or why it failed."""


def balancer_log_delivery(account_id: str) -> Statement:
    """Return the grant for an account's load balancers; resources are paths in the bucket.

    The principal is the one that AWS documents for all regions, in place of an account a region.
    Conditions on the source are not documented for it, and one that is not sent would lose every
    log in silence. The path does their work: the account in it is the load balancer's own, put
    there by Elastic Load Balancing.
    """
    return Statement(
        sid="LoadBalancerLogs",
        actions=["s3:PutObject"],
        principals={"Service": ["logdelivery.elasticloadbalancing.amazonaws.com"]},
        resources=[
            f"/{prefix}/AWSLogs/{account_id}/*" for prefix in (ACCESS_PREFIX, CONNECTION_PREFIX)
        ],
    )
