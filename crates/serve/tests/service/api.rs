//! Every endpoint answers what it should.

use sail_search::EntryId;
use serde_json::{Value, json};

use crate::description::check;
use crate::http::{base64, get, post, post_form};
use crate::server::{Server, paint, png};

const DARK_BLUE: [u8; 3] = [0, 0, 90];

fn keys(answer: &Value) -> Vec<&str> {
    answer["hits"].as_array().unwrap().iter().map(|hit| hit["key"].as_str().unwrap()).collect()
}

fn search(server: &Server, query: Value) -> Vec<String> {
    let answer = post(server.address, "/v1/search", &query);
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    check("/v1/search", "post", &answer);
    keys(&answer.json()).into_iter().map(str::to_owned).collect()
}

#[test]
fn words_images_entries_and_sums_of_them_find_images() {
    let server = Server::start();
    let first = |query: Value| search(&server, query).remove(0);
    assert_eq!(first(json!({ "text": "red" })), "warm/red.png");
    assert_eq!(first(json!({ "image": base64(&png(3, 3, DARK_BLUE)) })), "cold/blue.png");
    assert_eq!(first(json!({ "query": [{ "text": "red" }, { "text": "green" }] })), "warm/yellow.png");
    let yellow = EntryId::of("warm/yellow.png").to_string();
    let minus_red = json!({ "query": [{ "id": yellow }, { "text": "red", "weight": -0.8 }] });
    assert_eq!(first(minus_red), "cold/green.png");
    assert_eq!(first(json!({ "q": "red + green - 0.9*red" })), "cold/green.png");
    // What the query names is not a result.
    let like_yellow = search(&server, json!({ "id": yellow, "k": 4 }));
    assert_eq!(like_yellow.len(), 3);
    assert!(!like_yellow.contains(&"warm/yellow.png".to_owned()));
    assert_eq!(like_yellow[2], "cold/blue.png");
    // The parts of a form.
    let (dark_blue, id) = (png(3, 3, DARK_BLUE), yellow.as_bytes());
    let form = |parts: &[(&str, &[u8])]| post_form(server.address, "/v1/search", parts).json();
    assert_eq!(keys(&form(&[("image", &dark_blue), ("k", b"1")])), ["cold/blue.png"]);
    assert_eq!(
        keys(&form(&[("image", &dark_blue), ("k", b"1"), ("filter", b"class=warm")])),
        ["warm/red.png"]
    );
    assert_eq!(keys(&form(&[("text", b"red"), ("id", id), ("k", b"1")])), ["warm/red.png"]);
}

#[test]
fn scores_are_cosines_and_filters_restrict() {
    let server = Server::start();
    let answer =
        post(server.address, "/v1/search", &json!({ "text": "red", "k": 2, "filters": ["class=cold"] }))
            .json();
    // Of equal scores, the first row is first.
    assert_eq!(keys(&answer), ["cold/blue.png", "cold/green.png"]);
    let expected = 10.0 / (250.0f64 * 250.0 + 200.0).sqrt();
    let score = answer["hits"][0]["score"].as_f64().unwrap();
    assert!((score - expected).abs() < 1e-3, "{score} {expected}");
    assert_eq!(answer["hits"][0]["id"], EntryId::of("cold/blue.png").to_string());
    let both = json!({ "text": "red", "filters": ["class=cold", "key!=*blue*"] });
    for _ in 0..2 {
        assert_eq!(search(&server, both.clone()), ["cold/green.png"]);
    }
    assert!(search(&server, json!({ "text": "red", "filters": ["class=none"] })).is_empty());
}

#[test]
fn a_query_that_says_nothing_is_refused() {
    let server = Server::start();
    let id = EntryId::of("warm/red.png").to_string();
    let cancels = json!([{ "id": id }, { "id": id, "weight": -1 }]);
    for (query, status, message) in [
        (json!({}), 400, "the query is empty"),
        (json!({ "text": " " }), 400, "the text is empty"),
        (json!({ "q": "red -" }), 400, "has nothing after `-`"),
        (json!({ "text": "red", "k": 0 }), 400, "`k` is 0, expected 1 to 1000"),
        (json!({ "text": "red", "k": 1001 }), 400, "expected 1 to 1000"),
        (json!({ "text": "red", "path": "/etc/passwd" }), 400, "unknown field `path`"),
        (json!({ "text": "red", "filters": ["cat"] }), 400, "the filter `cat`"),
        (json!({ "text": "red", "filters": ["year=1"] }), 400, "the filter `year=1`"),
        (json!({ "query": cancels }), 400, "cancel each other"),
        (json!({ "query": [{ "text": "red", "weight": 1e39 }] }), 400, ""),
        (json!({ "image": "?" }), 400, "no base64"),
        (json!({ "image": base64(b"<html>") }), 422, "cannot use the image"),
        (json!({ "image": base64(&png(3, 3, [0; 3])) }), 422, "black has no direction"),
        (json!({ "id": EntryId::of("none").to_string() }), 404, "no entry with the id"),
        (json!({ "id": "../red" }), 404, "expected 32 hexadecimal digits"),
        (json!({ "text": "fail" }), 422, "the word was fail"),
    ] {
        let answer = post(server.address, "/v1/search", &query);
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
        check("/v1/search", "post", &answer);
        assert!(answer.message().contains(message), "{query}: {}", answer.message());
    }
    let form = |parts: &[(&str, &[u8])]| post_form(server.address, "/v1/search", parts);
    assert_eq!(form(&[("k", b"3")]).status, 400);
    assert_eq!(form(&[("text", b"red"), ("k", b"three")]).message(), "`k` is `three`, expected a number");
    assert!(form(&[("file", b"x")]).message().contains("a part `file`, expected"));
    assert_eq!(form(&[("text", b"\xff")]).message(), "the part `text` is no UTF-8");
}

#[test]
fn texts_and_images_are_embedded() {
    let server = Server::start();
    let texts = post(server.address, "/v1/embed/text", &json!({ "texts": ["red", "green green"] }));
    check("/v1/embed/text", "post", &texts);
    assert_eq!(texts.json()["embeddings"], json!([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]));
    let image = png(2, 2, [0, 200, 0]);
    let json = post(server.address, "/v1/embed/image", &json!({ "images": [base64(&image)] }));
    check("/v1/embed/image", "post", &json);
    let form = post_form(server.address, "/v1/embed/image", &[("image", &image)]);
    assert_eq!(json.json(), form.json());
    assert_eq!(form.json(), json!({ "model": "sail", "dim": 3, "embeddings": [[0.0, 1.0, 0.0]] }));
    for empty in [json!({ "texts": [] }), json!({ "texts": [""] }), json!({ "texts": vec!["red"; 1025] })] {
        assert_eq!(post(server.address, "/v1/embed/text", &empty).status, 400);
    }
    // More than a batch, and one bad text alone.
    let many = post(server.address, "/v1/embed/text", &json!({ "texts": vec!["blue"; 1024] })).json();
    assert_eq!(many["embeddings"].as_array().unwrap().len(), 1024);
    assert_eq!(post(server.address, "/v1/embed/text", &json!({ "texts": ["red", "fail"] })).status, 422);
}

#[test]
fn labels_are_compared() {
    let server = Server::start();
    let id = EntryId::of("warm/red.png").to_string();
    let query = json!({ "id": id, "labels": ["blue", "red"], "templates": ["{}", "the {}"] });
    let answer = post(server.address, "/v1/zero-shot", &query);
    check("/v1/zero-shot", "post", &answer);
    let labels = answer.json()["labels"].clone();
    assert_eq!((&labels[0]["label"], &labels[1]["label"]), (&json!("red"), &json!("blue")));
    let value = |place: usize, name: &str| labels[place][name].as_f64().unwrap();
    // The softmax of the scores times exp(1), the scale of the index.
    let exponentials = [0, 1].map(|place| (value(place, "score") * 1f64.exp()).exp());
    let expected = exponentials[0] / (exponentials[0] + exponentials[1]);
    assert!((value(0, "probability") - expected).abs() < 1e-4);
    assert!((value(0, "probability") + value(1, "probability") - 1.0).abs() < 1e-6);
    // The weight of a label is the direction of the sum of its prompts, "red" and "the red".
    let the_red = [1.1f64, 0.1, 0.1].map(|value| value / 1.23f64.sqrt());
    let sum = [1.0 + the_red[0], the_red[1], the_red[2]];
    let red = [250.0f64, 10.0, 10.0];
    let dot = |a: &[f64; 3], b: &[f64; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let cosine = dot(&sum, &red) / (dot(&sum, &sum) * dot(&red, &red)).sqrt();
    assert!((value(0, "score") - cosine).abs() < 1e-3);

    let form =
        post_form(server.address, "/v1/zero-shot", &[("image", &png(1, 1, [0, 0, 9])), ("label", b"blue")]);
    assert_eq!(form.json()["labels"][0]["probability"], 1.0);
    for (query, message) in [
        (json!({ "labels": ["red"] }), "one of `image` and `id`"),
        (json!({ "id": id, "labels": [] }), "at least one label"),
        (json!({ "id": id, "labels": ["red"], "templates": ["red"] }), "has no `{}`"),
        (json!({ "id": id, "labels": [" "] }), "a label is empty"),
    ] {
        let answer = post(server.address, "/v1/zero-shot", &query);
        assert!(answer.status == 400 && answer.message().contains(message), "{query}: {}", answer.text());
    }
}

#[test]
fn clients_of_openai_are_understood() {
    let server = Server::start();
    let embed = |body: Value| post(server.address, "/v1/embeddings", &body);
    let one = embed(json!({ "model": "sail", "input": "the red", "user": "me" }));
    check("/v1/embeddings", "post", &one);
    assert_eq!(one.json()["usage"], json!({ "prompt_tokens": 2, "total_tokens": 2 }));
    let floats = embed(json!({ "model": "sail", "input": ["red", "the blue"] })).json();
    assert_eq!(floats["data"][0], json!({ "object": "embedding", "index": 0, "embedding": [1.0, 0.0, 0.0] }));
    let coded = embed(json!({ "model": "sail", "input": ["red"], "encoding_format": "base64" }));
    check("/v1/embeddings", "post", &coded);
    let bytes: Vec<u8> = [1f32, 0.0, 0.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(coded.json()["data"][0]["embedding"], base64(&bytes));
    assert_eq!(embed(json!({ "model": "gpt", "input": "red" })).status, 404);
    assert_eq!(embed(json!({ "model": "sail", "input": "red", "dimensions": 2 })).status, 400);
    assert!(
        embed(json!({ "model": "sail", "input": [1, 2] })).message().contains("token ids are not supported")
    );
    let models = get(server.address, "/v1/models");
    check("/v1/models", "get", &models);
    assert_eq!(models.json()["data"][0]["id"], "sail");
}

#[test]
fn the_page_its_files_and_the_state_are_served() {
    let server = Server::start();
    let page = get(server.address, "/");
    assert!(page.status == 200 && page.text().contains("<title>Image search</title>"));
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    // Nothing in the page needs what its policy forbids.
    assert!(
        !page.text().contains("<style")
            && !page.text().contains(" style=")
            && !page.text().contains("onclick")
    );
    for file in ["page.css", "page.js"] {
        assert!(page.text().contains(&format!("\"{file}\"")));
        assert_eq!(get(server.address, &format!("/{file}")).status, 200);
    }
    check("/health", "get", &get(server.address, "/health"));
    let index = get(server.address, "/v1/index");
    check("/v1/index", "get", &index);
    assert_eq!((&index.json()["rows"], &index.json()["dim"]), (&json!(4), &json!(3)));
    search(&server, json!({ "text": "red" }));
    let metrics = get(server.address, "/metrics");
    for line in [
        "sail_requests_total{route=\"/v1/search\",status=\"200\"} 1",
        "sail_request_seconds_count{route=\"/v1/search\"} 1",
        "sail_index_rows 4",
        "sail_queue_length{stage=\"model\"} 0",
        "sail_batch_size_count{stage=\"search\"} 1",
        "# EOF",
    ] {
        assert!(metrics.text().contains(line), "{line}\n{}", metrics.text());
    }
    assert_eq!(get(server.address, "/nothing").status, 404);
    assert_eq!(get(server.address, "/v1/search").status, 405);
}

#[test]
fn an_index_that_grows_is_taken_up() {
    let server = Server::start();
    assert!(!server.service.reload().unwrap());
    paint(&server.images().join("warm/orange.png"), [250, 120, 10]);
    std::fs::remove_file(server.images().join("warm/yellow.png")).unwrap();
    server.update();
    // The state that was opened is searched until then.
    assert_eq!(search(&server, json!({ "text": "red green", "k": 1 })), ["warm/yellow.png"]);
    assert!(server.service.reload().unwrap() && !server.service.reload().unwrap());
    assert_eq!(search(&server, json!({ "text": "red green", "k": 1 })), ["warm/orange.png"]);
    assert_eq!(get(server.address, "/v1/index").json()["rows"], 4);
    let gone = EntryId::of("warm/yellow.png");
    assert_eq!(get(server.address, &format!("/images/{gone}")).status, 404);
}
