"""The facts of a plan of recovery, gathered from all that the policies name: reads, writes nothing.

Each part is looked at by itself: one that fails becomes a trouble with its message, and keeps none
of the others from being looked at.
"""

from dr_pipelines.project.facts.gather import chosen_collections, gather_facts

__all__ = ["chosen_collections", "gather_facts"]
