"""Attribute inference: what a file tells about a sample's hidden column to one who knows the rest of it."""

from safedeploy.attacks.attribute.guess import ATTRIBUTE_ATTACKS

__all__ = ["ATTRIBUTE_ATTACKS"]
