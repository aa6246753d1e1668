//! Values that are chosen by name.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use sail_vl::core::{Named, parse_named};

/// Parses the names of a [`Named`] type; help and completions list them.
pub(crate) fn named<T: Named + Send + Sync>() -> impl TypedValueParser<Value = T> {
    named_or(&[])
}

/// As [`named`], with hidden aliases: pairs of an alias and a name.
pub(crate) fn named_or<T: Named + Send + Sync>(
    aliases: &'static [(&'static str, &'static str)],
) -> impl TypedValueParser<Value = T> {
    let possible = T::ALL.iter().map(|value| {
        let of_value = aliases.iter().filter(|(_, name)| *name == value.name());
        PossibleValue::new(value.name()).aliases(of_value.map(|(alias, _)| *alias))
    });
    PossibleValuesParser::new(possible).try_map(|text| {
        let name = aliases.iter().find(|(alias, _)| *alias == text).map_or(text.as_str(), |(_, name)| name);
        parse_named("value", name)
    })
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};
    use sail_vl::core::Dtype;

    use super::*;

    fn parse(text: &str) -> Result<Dtype, clap::Error> {
        let arg = Arg::new("dtype").value_parser(named_or::<Dtype>(&[("half", "f16")]));
        Ok(*Command::new("x").arg(arg).try_get_matches_from(["x", text])?.get_one("dtype").unwrap())
    }

    #[test]
    fn parses_names_and_aliases() {
        for dtype in Dtype::ALL {
            assert_eq!(parse(dtype.name()).unwrap(), *dtype);
        }
        assert_eq!(parse("half").unwrap(), Dtype::F16);
        let error = parse("f64").unwrap_err().to_string();
        assert!(error.contains("[possible values: f16, bf16, f32]"), "{error}");
    }
}
