"""Are texts and fields those of the point? Sampled records are read back and compared."""

import numpy as np

from dr_pipelines.model.verdict import Check, Finding
from dr_pipelines.proof.probes.naming import few
from dr_pipelines.proof.probes.sample import Sample, Stored


def check_records(sample: Sample, stored: Stored) -> Check:
    """Compare text, document, place and fields of sampled records that are there, bit for bit. What
    no query shows, such as a character in another form of Unicode, is seen here."""
    there = int(stored.there.sum())
    wrong = np.flatnonzero(stored.there & ~stored.same).tolist()
    findings = []
    if wrong:
        names = few([sample.ids[place] for place in wrong])
        message = f"{len(wrong):,} of {there:,} sampled records have another text or field: {names}"
        findings.append(Finding(check="records", place="sample", message=message))
    return Check(
        name="records",
        looked_at=there,
        least=min(1, len(sample)),
        total=sample.total,
        findings=tuple(findings),
        limits=stored.not_compared,
    )
