//! From the names and layouts of a checkpoint to those of a model.

/// A mapping of the names of tensors: first a prefix is stripped, then the rules are applied in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WeightMap {
    /// Optional prefixes: the first one found is stripped, and names without it are ignored.
    pub(crate) prefixes: &'static [&'static str],
    /// Applied in order to every name.
    pub(crate) rules: &'static [Rule],
    /// Names not needed: a prefix, or a suffix if it starts with a dot; matched after the rules.
    pub(crate) ignored: &'static [&'static str],
}

/// A change of a name, or of the tensors with such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Replaces a part of the name, wherever it occurs.
    Rename(&'static str, &'static str),
    /// A tensor whose name contains the part is cut into equal parts of its first dimension, one for each replacement of
    /// the part (fused `qkv`, gate and up).
    Split(&'static str, &'static [&'static str]),
    /// A matrix whose name contains the part is stored as `[in, out]` and transposed; other tensors are left as they are.
    Transpose(&'static str),
}

/// The part of a stored tensor that a rule selects. Dimensions of size 1 do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    /// Of the first and the second stored dimension, part `index` of `count` equal ones.
    pub(super) parts: [(usize, usize); 2],
    pub(super) transposed: bool,
}

impl View {
    pub(super) const WHOLE: Self = Self { parts: [(0, 1); 2], transposed: false };

    /// Returns whether this is a part of the stored tensor only.
    pub(super) fn is_part(&self) -> bool {
        self.parts != Self::WHOLE.parts
    }

    fn part(mut self, index: usize, count: usize) -> Self {
        let part = &mut self.parts[usize::from(self.transposed)];
        *part = (part.0 * count + index, part.1 * count);
        self
    }

    /// Returns the shape of the view of a stored tensor, if it can be cut like this.
    pub(super) fn of(&self, stored: &[usize]) -> Option<Vec<usize>> {
        let mut shape = stored.to_vec();
        for (dim, (_, count)) in self.parts.into_iter().enumerate().filter(|(_, (_, count))| *count > 1) {
            let size = shape.get_mut(dim).filter(|size| size.is_multiple_of(count))?;
            *size /= count;
        }
        if self.transposed {
            shape.reverse();
        }
        Some(shape)
    }

    /// Returns the shape of a stored tensor with a view of this shape.
    pub(super) fn stored(&self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        if self.transposed {
            shape.reverse();
        }
        for (size, (_, count)) in shape.iter_mut().zip(self.parts) {
            *size = size.saturating_mul(count);
        }
        shape
    }
}

impl WeightMap {
    /// Returns the prefix to strip from these names.
    pub(super) fn prefix<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) -> &'static str {
        let found = |prefix: &&&str| names.clone().any(|name| name.starts_with(**prefix));
        self.prefixes.iter().find(found).copied().unwrap_or("")
    }

    /// Returns the names in the model of a tensor with this name (without the prefix), with the part of it that each has;
    /// none if it is ignored.
    pub(super) fn apply(&self, name: &str, is_matrix: bool) -> Vec<(String, View)> {
        let mut named = vec![(name.to_owned(), View::WHOLE)];
        for rule in self.rules {
            named = named.into_iter().flat_map(|(name, view)| rule.apply(name, view, is_matrix)).collect();
        }
        named.retain(|(name, _)| !self.ignores(name));
        named
    }

    fn ignores(&self, name: &str) -> bool {
        let matches =
            |part: &&str| if part.starts_with('.') { name.ends_with(part) } else { name.starts_with(part) };
        self.ignored.iter().any(matches)
    }

    /// Returns names (without the prefix) that become `name`, as far as the rules can be inverted.
    pub(super) fn invert(&self, name: &str) -> Vec<String> {
        /// Enough for six rules that may or may not have been applied.
        const CANDIDATES: usize = 64;
        let mut candidates = vec![name.to_owned()];
        for rule in self.rules.iter().rev() {
            let mut inverted: Vec<String> = candidates.iter().flat_map(|name| rule.invert(name)).collect();
            // What was removed may have been anywhere, or nowhere.
            let last = if matches!(rule, Rule::Rename(_, "")) { &mut inverted } else { &mut candidates };
            let mut last = std::mem::take(last);
            candidates.append(&mut inverted);
            candidates.append(&mut last);
            candidates.truncate(CANDIDATES);
        }
        candidates.retain(|from| self.apply(from, true).iter().any(|(to, _)| to == name));
        candidates
    }
}

impl Rule {
    fn apply(&self, name: String, view: View, is_matrix: bool) -> Vec<(String, View)> {
        match *self {
            Self::Rename(from, to) => vec![(name.replace(from, to), view)],
            Self::Split(part, parts) if name.contains(part) => {
                let replaced =
                    |(index, to): (usize, &&str)| (name.replacen(part, to, 1), view.part(index, parts.len()));
                parts.iter().enumerate().map(replaced).collect()
            }
            Self::Transpose(part) if is_matrix && name.contains(part) => {
                vec![(name, View { transposed: !view.transposed, ..view })]
            }
            Self::Split(..) | Self::Transpose(_) => vec![(name, view)],
        }
    }

    fn invert(&self, name: &str) -> Vec<String> {
        match *self {
            Self::Rename(from, "") => {
                let ends = name.match_indices('.').map(|(dot, _)| dot + 1);
                let insert = |at: usize| {
                    let (before, after) = name.split_at(at);
                    format!("{before}{from}{after}")
                };
                std::iter::once(0).chain(ends).map(insert).collect()
            }
            Self::Rename(from, to) if name.contains(to) => vec![name.replace(to, from)],
            Self::Split(part, parts) => {
                let parts = parts.iter().filter(|to| name.contains(**to));
                parts.map(|to| name.replacen(to, part, 1)).collect()
            }
            Self::Rename(..) | Self::Transpose(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: WeightMap = WeightMap {
        prefixes: &["vit."],
        rules: &[
            Rule::Rename("encoder.layer.", "blocks."),
            Rule::Rename("attn.out_proj", "attention.output"),
            Rule::Split("attn.in_proj_", &["attention.query.", "attention.key.", "attention.value."]),
            Rule::Rename("embeddings.", ""),
            Rule::Transpose("c_fc"),
        ],
        ignored: &["head.", ".position_ids"],
    };

    fn names(name: &str) -> Vec<String> {
        MAP.apply(name, true).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn rules_are_applied_in_order_and_then_names_ignored() {
        assert_eq!(names("embeddings.patch.weight"), ["patch.weight"]);
        assert_eq!(names("encoder.layer.3.attn.out_proj.bias"), ["blocks.3.attention.output.bias"]);
        let parts = ["query", "key", "value"].map(|part| format!("blocks.3.attention.{part}.weight"));
        assert_eq!(names("encoder.layer.3.attn.in_proj_weight"), parts);
        for ignored in ["head.weight", "embeddings.head.bias", "x.position_ids"] {
            assert_eq!(names(ignored), [""; 0], "{ignored}");
        }
    }

    #[test]
    fn rules_are_inverted() {
        for (name, expected) in [
            ("blocks.3.attention.output.bias", "encoder.layer.3.attn.out_proj.bias"),
            ("blocks.0.attention.key.weight", "encoder.layer.0.attn.in_proj_weight"),
            ("patch.weight", "embeddings.patch.weight"),
        ] {
            let found = MAP.invert(name);
            assert!(found.contains(&expected.to_owned()), "{name}: {found:?}");
            assert!(found.iter().all(|from| names(from).contains(&name.to_owned())), "{found:?}");
        }
        assert_eq!(MAP.invert("head.weight"), [""; 0]);
    }

    #[test]
    fn parts_and_transposition_combine() {
        const MAP: WeightMap = WeightMap {
            prefixes: &[],
            rules: &[Rule::Transpose("kv"), Rule::Split("kv", &["k", "v"])],
            ignored: &[],
        };
        let [_, (name, view)] = MAP.apply("kv.weight", true).try_into().unwrap();
        assert_eq!((name.as_str(), view.transposed, view.parts), ("v.weight", true, [(0, 1), (1, 2)]));
        assert_eq!(view.stored(&[3, 5]), [5, 6]);
        let [_, (_, bias)] = MAP.apply("kv.bias", false).try_into().unwrap();
        assert_eq!((bias.transposed, bias.parts), (false, [(1, 2), (0, 1)]));
        assert_eq!(bias.stored(&[3]), [6]);
    }
}
