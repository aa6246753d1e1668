//! Settings of a graph.

use sail_core::{Check, ConfigError, ensure};
use serde::{Deserialize, Serialize};

/// The size of a graph and the effort of its construction and search.
///
/// # Examples
/// ```
/// use sail_core::Check;
/// use sail_search::GraphConfig;
///
/// GraphConfig::default().check()?;
/// let small = GraphConfig { degree: 32, ..GraphConfig::default() };
/// assert!(GraphConfig { build_beam: 16, ..small }.check().is_err());
/// # Ok::<(), sail_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphConfig {
    /// Edges of a row, at most: 8 to 256. More edges find more of the nearest rows in as many steps, and each takes 4 bytes.
    pub degree: usize,
    /// Candidates that the search for the neighbours of a new row keeps: `degree` to 1,000. The time of construction is
    /// proportional.
    pub build_beam: usize,
    /// Candidates that a search keeps: 10 to 10,000. The time of a query is proportional. A search for `k` rows keeps at least
    /// `2 k`.
    pub search_beam: usize,
}

impl Default for GraphConfig {
    fn default() -> Self {
        Self { degree: 64, build_beam: 96, search_beam: 512 }
    }
}

impl Check for GraphConfig {
    fn check(&self) -> Result<(), ConfigError> {
        ensure((8..=256).contains(&self.degree), "degree", self.degree, "8 to 256")?;
        let build = self.degree..=1000;
        ensure(build.contains(&self.build_beam), "build_beam", self.build_beam, "`degree` to 1,000")?;
        ensure((10..=10_000).contains(&self.search_beam), "search_beam", self.search_beam, "10 to 10,000")
    }
}
