"""Declares assets: what all assets of a collection have in common."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from dr_pipelines.model.notation import duration_text

from .failures import explained
from .run_process import noted
from .tracked import Tracked

Decorator = Callable[[Callable[..., Any]], dg.AssetsDefinition]


def asset(
    tracked: Tracked, name: str, *, kinds: set[str], deps: Sequence[dg.AssetDep] = (), **more: Any
) -> Decorator:
    """Declare an asset of a collection, with what all of them have."""
    declare: Decorator = dg.asset(
        name=name,
        key_prefix=tracked.key_prefix,
        group_name=tracked.group,
        kinds=kinds,
        owners=tracked.owners,
        tags={
            "authority": tracked.policy.authority,
            "store": tracked.policy.store,
            "priority": str(tracked.policy.priority),
        },
        metadata=_facts(tracked) | more.pop("metadata", {}),
        pool=tracked.name,
        deps=deps,
        **more,
    )
    return lambda function: declare(explained(noted(function)))


def asset_by_day(
    tracked: Tracked,
    name: str,
    *,
    version: str | None,
    kinds: set[str],
    after: str | None = None,
    **more: Any,
) -> Decorator:
    """Declare an asset by day, each day made of the same day of the stage before; a range of days
    is made in one run."""
    with warnings.catch_warnings():  # of a parameter that Dagster's own pages recommend
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
        return asset(
            tracked,
            name,
            kinds=kinds,
            deps=[dg.AssetDep(tracked.key(after))] if after else [],
            partitions_def=tracked.days,
            backfill_policy=dg.BackfillPolicy.single_run(),
            code_version=version,
            **more,
        )


def _facts(tracked: Tracked) -> dict[str, Any]:
    policy = tracked.policy
    facts: dict[str, Any] = {
        "owner": policy.owner,
        "escalation": policy.escalation or policy.owner,
        "rpo": duration_text(policy.objectives.rpo),
        "rto": duration_text(policy.objectives.rto),
    }
    return facts | ({"version_unknown": tracked.unknown} if tracked.unknown else {})
