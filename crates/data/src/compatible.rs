//! Compatibility of feature sources.

use sail_core::FeatureSource;

/// The field that differs, the value of the other source and the value of the first.
pub(crate) type Difference = (&'static str, String, String);

/// Returns the first difference in dimension or known provenance of two sources.
pub(crate) fn difference(first: &dyn FeatureSource, other: &dyn FeatureSource) -> Option<Difference> {
    if other.dim() != first.dim() {
        return Some(("dimension", other.dim().to_string(), first.dim().to_string()));
    }
    let contradiction = first.provenance()?.contradiction(other.provenance()?)?;
    Some((contradiction.field, contradiction.found, contradiction.expected))
}
