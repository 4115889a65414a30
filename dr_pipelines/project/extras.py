"""Which extra of this package installs what an import did not find."""

from dr_pipelines.host.extras import EXTRAS, ExtraMissing
from dr_pipelines.stores import engines


def missing_extra(error: ImportError) -> ExtraMissing | None:
    """An error that names the extra to install; None where the package is of none."""
    package = (error.name or "").partition(".")[0].replace("-", "_")
    extra = (EXTRAS | engines.packages()).get(package)
    if not isinstance(error, ModuleNotFoundError) or extra is None:
        return None
    return ExtraMissing(package, extra=extra)
