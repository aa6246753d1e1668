//! The lines of text in which version 1 of stores and heads described preprocessing and tokenizers.

use serde_json::{Map, Value, json};

/// Parses a line of version 1, or returns `None` for the description of a custom type.
pub(super) fn parse(text: &str) -> Option<Map<String, Value>> {
    let settings = match text.strip_prefix("tokenizer ") {
        Some(rest) => tokenizer(rest)?,
        None => image(text)?,
    };
    match settings {
        Value::Object(settings) => Some(settings),
        _ => None,
    }
}

/// `HASH, at most N tokens with TOKENS, cut at the SIDE, padded with ID at the SIDE`
fn tokenizer(text: &str) -> Option<Value> {
    let (text, padding) = text.rsplit_once(", padded with ")?;
    let (id, padding_side) = padding.split_once(" at the ")?;
    let (text, truncation_side) = text.rsplit_once(", cut at the ")?;
    let (hash, text) = text.split_once(", at most ")?;
    let (limit, special_tokens) = text.split_once(" tokens with ")?;
    Some(json!({
        "tokenizer": hash,
        "max_length": limit.parse::<usize>().ok()?,
        "special_tokens": special_tokens,
        "truncation_side": truncation_side,
        "padding_side": padding_side,
        "pad_token_id": id.parse::<u32>().ok()?,
    }))
}

/// `resize to SIZE (FILTER); center crop HxW; rescale FACTOR; mean R G B; std R G B`
fn image(text: &str) -> Option<Value> {
    let mut steps = text.split("; ");
    let mut settings = json!({});
    match steps.next()? {
        "no resize" => {}
        resize => {
            let (size, filter) = resize.strip_prefix("resize to ")?.strip_suffix(')')?.rsplit_once(" (")?;
            settings["resize"] = resized(size)?;
            settings["resample"] = filter.into();
        }
    }
    for step in steps {
        if let Some(size) = step.strip_prefix("center crop ") {
            settings["center_crop"] = json!(sides(size)?);
        } else if let Some(factor) = step.strip_prefix("rescale ") {
            settings["rescale"] = factor.parse::<f64>().ok()?.into();
        } else if let Some(mean) = step.strip_prefix("mean ") {
            settings["normalize"]["mean"] = json!(channels(mean)?);
        } else {
            settings["normalize"]["std"] = json!(channels(step.strip_prefix("std ")?)?);
        }
    }
    Some(settings)
}

fn resized(size: &str) -> Option<Value> {
    let Some(edge) = size.strip_prefix("shortest edge ") else {
        let [height, width] = sides(size)?;
        return Some(json!({"exact": {"height": height, "width": width}}));
    };
    let Some((shortest, longest)) = edge.split_once(", longest at most ") else {
        return Some(json!({"shortest_edge": edge.parse::<usize>().ok()?}));
    };
    let [shortest, longest] = [shortest.parse::<usize>().ok()?, longest.parse::<usize>().ok()?];
    Some(json!({"shortest_edge_within": {"shortest": shortest, "longest": longest}}))
}

fn sides(size: &str) -> Option<[usize; 2]> {
    let (height, width) = size.split_once('x')?;
    Some([height.parse().ok()?, width.parse().ok()?])
}

fn channels(values: &str) -> Option<[f64; 3]> {
    values.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_version_1_become_values() {
        let found = |text| parse(text).map(Value::Object);
        assert_eq!(
            found(
                "resize to shortest edge 256 (bicubic); center crop 224x224; rescale 0.5; mean 0 1 2; std 1 1 1"
            ),
            Some(json!({
                "resize": {"shortest_edge": 256}, "resample": "bicubic", "center_crop": [224, 224], "rescale": 0.5,
                "normalize": {"mean": [0.0, 1.0, 2.0], "std": [1.0, 1.0, 1.0]},
            }))
        );
        assert_eq!(
            found("resize to 3x4 (box)"),
            Some(json!({"resize": {"exact": {"height": 3, "width": 4}}, "resample": "box"}))
        );
        assert_eq!(
            found("resize to shortest edge 2, longest at most 9 (box)").unwrap()["resize"],
            json!({"shortest_edge_within": {"shortest": 2, "longest": 9}})
        );
        assert_eq!(found("no resize; rescale 1"), Some(json!({"rescale": 1.0})));
        // Special tokens may contain anything.
        let tokenizer = "tokenizer 0f, at most 8 tokens with <s>, cut at the </s>, cut at the left, padded with 1 at the left";
        assert_eq!(found(tokenizer).unwrap()["special_tokens"], "<s>, cut at the </s>");
    }

    #[test]
    fn other_descriptions_are_no_settings() {
        for text in ["", "as is", "resize to 3 (box)", "no resize; blur 3", "tokenizer", "tokenizer of mine"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
