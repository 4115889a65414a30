"""`DrPipelines`: the collections of a policies file as a component, for a `defs.yaml`."""

from collections.abc import Sequence

import dagster as dg

from .builder import build_defs


class DrPipelines(dg.Component, dg.Model, dg.Resolvable):
    """Backup and recovery of the vector collections that a policies file names.

    `policies` is relative to the folder of the `defs.yaml`; `collections` chooses some of them.
    """

    policies: str = "policies.yaml"
    collections: Sequence[str] | None = None
    key_prefix: Sequence[str] = ()
    group_name: str | None = None
    name_prefix: str = ""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions that `dr_pipelines_dagster.build_defs` makes of these attributes."""
        return build_defs(
            context.path / self.policies,
            collections=self.collections,
            key_prefix=self.key_prefix,
            group_name=self.group_name,
            name_prefix=self.name_prefix,
        )
