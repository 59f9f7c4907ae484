"""Controls of the security baseline: judged over resources as plain data, no server needed."""

from infra.policies.catalogue import CONTROLS, OPERATED
from infra.policies.model import Control, Finding, Resource, Stack, judge

__all__ = ["CONTROLS", "OPERATED", "Control", "Finding", "Resource", "Stack", "judge"]
