//! Answers and examples are as `/openapi.json` describes them.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::http::{Response, exchange, get, post};
use crate::server::Server;

static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../src/openapi.json")).unwrap());

/// Checks that an answer has a status that is described, and the described form.
pub(crate) fn check(path: &str, method: &str, answer: &Response) {
    let responses = &DESCRIPTION["paths"][path][method]["responses"];
    let described = &responses[answer.status.to_string()];
    assert!(described.is_object(), "{method} {path} answers {}: {}", answer.status, answer.text());
    let media_type = answer.header("content-type").unwrap();
    let media_type = media_type.split(';').next().unwrap();
    let schema = &resolve(described)["content"][media_type]["schema"];
    if let Err(error) = validate(schema, &answer.json()) {
        panic!("{method} {path} {}: {error}", answer.status);
    }
}

/// Follows a reference.
fn resolve(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(path) => DESCRIPTION.pointer(path.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// Validates a value by the part of JSON Schema that the description uses.
fn validate(schema: &Value, value: &Value) -> Result<(), String> {
    let schema = resolve(schema);
    let fail = |problem: &str| Err(format!("{value} is {problem} {schema}"));
    let is_type = schema["type"].as_str().is_none_or(|name| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64(),
        other => panic!("type {other}"),
    });
    if !is_type {
        return fail("not of the type of");
    }
    for (keyword, rule) in schema.as_object().ok_or("no schema")? {
        match keyword.as_str() {
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    value.get(name).map_or(Ok(()), |value| validate(schema, value))?;
                }
            }
            "required" => {
                if rule.as_array().unwrap().iter().any(|name| value.get(name.as_str().unwrap()).is_none()) {
                    return fail("without a field of");
                }
            }
            "additionalProperties" => {
                for (name, value) in value.as_object().unwrap() {
                    if schema["properties"].get(name).is_none() {
                        match rule {
                            Value::Bool(true) => {}
                            Value::Bool(false) => return fail("with a field that is not in"),
                            schema => validate(schema, value)?,
                        }
                    }
                }
            }
            "items" => value.as_array().unwrap().iter().try_for_each(|value| validate(rule, value))?,
            "minItems" if value.as_array().unwrap().len() < rule.as_u64().unwrap() as usize => {
                return fail("shorter than");
            }
            "minimum" if value.as_f64() < rule.as_f64() => return fail("less than"),
            "maximum" if value.as_f64() > rule.as_f64() => return fail("more than"),
            "const" if value != rule => return fail("not"),
            "enum" if !rule.as_array().unwrap().contains(value) => return fail("none of"),
            "oneOf" => {
                let valid = rule.as_array().unwrap().iter().filter(|schema| validate(schema, value).is_ok());
                if valid.count() != 1 {
                    return fail("not one of");
                }
            }
            "pattern" => {
                assert_eq!(rule, "^[0-9a-f]{32}$");
                let text = value.as_str().unwrap();
                if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                    return fail("no match of");
                }
            }
            "type" | "minItems" | "minimum" | "maximum" | "const" | "enum" => {}
            "description" | "default" | "contentEncoding" | "contentMediaType" => {}
            other => panic!("keyword {other}"),
        }
    }
    Ok(())
}

fn examples(media: &Value) -> Vec<&Value> {
    let several = media["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]);
    media.get("example").into_iter().chain(several).collect()
}

#[test]
fn examples_are_valid_and_understood() {
    let server = Server::start();
    let mut requests = 0;
    for (path, methods) in DESCRIPTION["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let media = &resolve(response)["content"]["application/json"];
                for example in examples(media) {
                    validate(&media["schema"], example).unwrap_or_else(|e| panic!("{path} {status}: {e}"));
                }
            }
            let media = &operation["requestBody"]["content"]["application/json"];
            assert_eq!(method == "post", media.is_object(), "{path}");
            for example in examples(media) {
                validate(&media["schema"], example).unwrap_or_else(|error| panic!("{path}: {error}"));
                let answer = post(server.address, path, example);
                check(path, method, &answer);
                // The example's entry and class are not in this index.
                assert!([200, 404].contains(&answer.status), "{path} {example}: {}", answer.text());
                requests += 1;
            }
        }
    }
    assert_eq!(requests, 8);
}

#[test]
fn routes_have_the_methods_that_are_described() {
    let server = Server::start();
    for (path, methods) in DESCRIPTION["paths"].as_object().unwrap() {
        let target = path.replace("{id}", "dedaa2dc216fd4042cdd579c35c15c0f");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let head = format!(
                "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let status = exchange(server.address, head.as_bytes()).status;
            let is_described = methods.get(method.to_lowercase()).is_some();
            assert_eq!(status != 405, is_described, "{method} {path}: {status}");
        }
    }
    assert_eq!(get(server.address, "/openapi.json").json(), *DESCRIPTION);
}

#[test]
fn the_validator_finds_faults() {
    let search = &json!({ "$ref": "#/components/schemas/Search" });
    validate(search, &json!({ "text": "a", "k": 3, "filters": ["a=b"] })).unwrap();
    let wrong = [
        json!([]),
        json!({ "text": 1 }),
        json!({ "words": "a" }),
        json!({ "k": 0 }),
        json!({ "id": "x" }),
        json!({ "query": [{ "weight": "1" }] }),
    ];
    for value in wrong {
        assert!(validate(search, &value).is_err(), "{value}");
    }
    assert!(validate(&json!({ "$ref": "#/components/schemas/Texts" }), &json!({})).is_err());
}
