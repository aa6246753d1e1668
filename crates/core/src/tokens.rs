//! How the token states of one input form a row of features.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Check, ConfigError, ensure};

/// The layout of a row that holds token states instead of a pooled embedding: `tokens * dim` values, one token after the
/// other.
///
/// Features with a layout are stored, paired and gathered as any other; what reads them reshapes a row to
/// `[tokens, dim]`.
///
/// # Examples
/// ```
/// use sail_core::TokenLayout;
/// let layout = TokenLayout::Image { class_token: true, grid: [16, 16], dim: 384 };
/// assert_eq!((layout.tokens(), layout.row_values()), (257, 257 * 384));
/// assert_eq!(layout.to_string(), "a class token and 16x16 patches of 384 values");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum TokenLayout {
    /// The tokens of an image: the class token, if there is one, then the patches in row-major order of the grid.
    Image {
        /// Whether the first token is a class token.
        class_token: bool,
        /// Rows and columns of the grid of patches.
        grid: [usize; 2],
        /// Dimension of a token.
        dim: usize,
    },
    /// The tokens of a text, in order. A shorter text ends with tokens of zeros.
    Text {
        /// Number of tokens of a row.
        length: usize,
        /// Dimension of a token.
        dim: usize,
    },
}

impl TokenLayout {
    /// The highest number of values of a row, 16,777,216.
    pub const MAX_ROW_VALUES: usize = 1 << 24;

    /// Returns the number of tokens of a row.
    pub fn tokens(&self) -> usize {
        match *self {
            Self::Image { class_token, grid: [rows, columns], .. } => {
                rows.saturating_mul(columns).saturating_add(usize::from(class_token))
            }
            Self::Text { length, .. } => length,
        }
    }

    /// Returns the dimension of a token.
    pub fn dim(&self) -> usize {
        match *self {
            Self::Image { dim, .. } | Self::Text { dim, .. } => dim,
        }
    }

    /// Returns the number of values of a row, `tokens * dim`: the dimension of the features.
    pub fn row_values(&self) -> usize {
        self.tokens().saturating_mul(self.dim())
    }
}

impl Check for TokenLayout {
    fn check(&self) -> Result<(), ConfigError> {
        match *self {
            Self::Image { grid, .. } => {
                let found = format_args!("{} x {}", grid[0], grid[1]);
                ensure(!grid.contains(&0), "grid", found, "at least 1 x 1")?;
            }
            Self::Text { length, .. } => ensure(length > 0, "length", length, "at least 1")?,
        }
        ensure(self.dim() > 0, "dim", self.dim(), "at least 1")?;
        let (found, most) = (self.row_values(), Self::MAX_ROW_VALUES);
        ensure(found <= most, "tokens", format_args!("{self}"), format!("at most {most} values in all"))
    }
}

impl fmt::Display for TokenLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { class_token, grid: [rows, columns], .. } => {
                f.write_str(if *class_token { "a class token and " } else { "" })?;
                write!(f, "{rows}x{columns} patches")?;
            }
            Self::Text { length, .. } => write!(f, "{length} tokens of text")?,
        }
        write!(f, " of {} values", self.dim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn layouts_are_written_by_their_kind() {
        let image = TokenLayout::Image { class_token: false, grid: [2, 3], dim: 4 };
        let text = TokenLayout::Text { length: 5, dim: 4 };
        for (layout, tokens, written) in [
            (image, 6, json!({"image": {"class_token": false, "grid": [2, 3], "dim": 4}})),
            (text, 5, json!({"text": {"length": 5, "dim": 4}})),
        ] {
            assert_eq!((layout.tokens(), layout.row_values()), (tokens, 4 * tokens));
            assert_eq!(serde_json::to_value(layout).unwrap(), written);
            assert_eq!(serde_json::from_value::<TokenLayout>(written).unwrap(), layout);
            layout.check().unwrap();
        }
        let unknown = json!({"text": {"length": 5, "dim": 4, "stride": 1}});
        assert!(serde_json::from_value::<TokenLayout>(unknown).is_err());
    }

    #[test]
    fn layouts_out_of_range_are_refused() {
        let image = |grid, dim| TokenLayout::Image { class_token: true, grid, dim };
        for (layout, field) in [
            (image([0, 3], 4), "grid"),
            (image([1, 1], 0), "dim"),
            (image([usize::MAX, 2], usize::MAX), "tokens"),
            (image([4096, 4096], 1), "tokens"),
            (TokenLayout::Text { length: 0, dim: 1 }, "length"),
        ] {
            assert_eq!(layout.check().unwrap_err().field, field, "{layout:?}");
        }
    }
}
