//! `sail search` with tiny random backbones.

use std::fs;

use png::ColorType;
use serde_json::Value;

use crate::benchmark::lab;
use crate::lab::Lab;
use crate::segment::write_png;

/// An index of six images in two folders.
pub(crate) fn indexed() -> Lab {
    let lab = lab();
    fs::create_dir_all(lab.path("images/a")).unwrap();
    fs::create_dir_all(lab.path("images/b")).unwrap();
    for n in 0..6u32 {
        let pixels: Vec<u8> =
            (0..24 * 20 * 3u32).map(|at| ((at * at * (n + 1) + at * 13) >> (n + 2)) as u8).collect();
        let folder = if n < 4 { "a" } else { "b" };
        write_png(&lab.path(&format!("images/{folder}/{n}.png")), ColorType::Rgb, &pixels);
    }
    let index = "index images --head head.safetensors --vision vision --text text --out index";
    lab.run(index).succeeded();
    lab
}

fn keys(found: &Value) -> Vec<&str> {
    found["hits"].as_array().unwrap().iter().map(|hit| hit["key"].as_str().unwrap()).collect()
}

#[test]
fn images_are_found_by_words_images_and_sums() {
    let lab = indexed();
    let by_image = lab.run("search index images/a/2.png --json").json();
    assert_eq!((keys(&by_image)[0], by_image["images"].as_u64()), ("a/2.png", Some(6)));
    assert!(by_image["hits"][0]["score"].as_f64().unwrap() > 0.999, "{by_image}");
    assert_eq!(by_image["query"][0]["image"], "images/a/2.png");
    let words = lab.run("search index a black-and-white photo -k 3 --json").json();
    assert_eq!((keys(&words).len(), &words["query"][0]["text"]), (3, &"a black-and-white photo".into()));
    let quoted = lab.run("search index \"a black-and-white photo\" -k 3 --json").json();
    assert_eq!(quoted, words);

    // An image minus itself leaves the words.
    let sum = lab.run("search index a photo + images/a/1.png - images/a/1.png --json").json();
    let alone = lab.run("search index a photo --json").json();
    assert_eq!(keys(&sum), keys(&alone));
    let like = lab.run("search index --like a/2.png --json").json();
    assert_eq!(keys(&like), keys(&by_image)[1..]);

    let some = lab.run("search index a photo --filter class=b --json").json();
    let mut found = keys(&some);
    found.sort_unstable();
    assert_eq!((found, some["images"].as_u64()), (vec!["b/4.png", "b/5.png"], Some(2)));
    let none = lab.run("search index a photo --filter class=c").succeeded().out;
    assert_eq!(none, "none of the images fulfils the conditions\n");
}

#[test]
fn results_are_lines_paths_or_a_page() {
    let lab = indexed();
    let text = lab.run("search index images/a/0.png -k 2 --report found.html").succeeded().out;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with("a/0.png") && lines[0].starts_with("1.0"), "{text}");
    let page = String::from_utf8(lab.read("found.html")).unwrap();
    assert_eq!(page.matches("data:image/jpeg").count(), 2);
    let paths = lab.run("search index images/a/0.png -k 2 --paths").succeeded().out;
    assert!(paths.lines().all(|path| fs::metadata(path).unwrap().is_file()), "{paths}");
    let null = lab.run("search index images/a/0.png -k 2 -0").succeeded().out;
    assert_eq!(null, paths.replace('\n', "\0"));
    let sixels = lab.run("search index images/a/0.png -k 2 --image-protocol sixel").succeeded().out;
    assert_eq!(sixels.matches("\x1bP").count(), 2);
    // The former name of an option.
    assert_eq!(lab.run("search index images/a/0.png -k 2 --no-pictures").succeeded().out, text);
}

#[test]
fn columns_of_any_type_restrict_a_search() {
    let lab = indexed();
    let lines: String = (0..6)
        .map(|n| {
            let (folder, ok) = (if n < 4 { "a" } else { "b" }, n % 2 == 0);
            format!("{{\"image\": \"{folder}/{n}.png\", \"price\": {n}.5, \"ok\": {ok}}}\n")
        })
        .collect();
    fs::write(lab.path("images/columns.jsonl"), lines).unwrap();
    let index =
        "index images --head head.safetensors --vision vision --text text --out index --columns price,ok";
    lab.refuses(index, 1, &["no captions"]);
    lab.run(&format!("{index} --captions images/columns.jsonl --caption-column image")).succeeded();
    let found = |filter: &str| {
        let found = lab.run(&format!("search index a photo --filter {filter} --json")).json();
        let mut keys: Vec<String> = keys(&found).into_iter().map(str::to_owned).collect();
        keys.sort();
        keys
    };
    assert_eq!(found("price<1.5"), ["a/0.png"]);
    assert_eq!(found("price>=4.5"), ["b/4.png", "b/5.png"]);
    assert_eq!(found("price>=2.5 --filter ok=true"), ["a/2.png", "b/4.png"]);
    assert_eq!(found("price=2.5"), ["a/2.png"]);
    lab.refuses("search index a photo --filter price<cheap", 2, &["`cheap`", "expected a number"]);
}

#[test]
fn what_cannot_be_searched_for_is_refused() {
    let lab = indexed();
    fs::write(lab.path("notes.png"), "no image").unwrap();
    lab.refuses("search index", 2, &["the query is empty"]);
    lab.refuses("search index a -", 2, &["nothing after `-`"]);
    lab.refuses("search index cat - cat", 2, &["cancel"]);
    lab.refuses("search index phtoo.jpg", 2, &["`phtoo.jpg` looks like an image file and does not exist"]);
    lab.refuses("search index notes.png", 2, &["cannot search for the image notes.png"]);
    lab.refuses("search index --image absent.jpg", 2, &["absent.jpg", "No such file"]);
    lab.refuses("search index --like absent.jpg", 2, &["no image with the key `absent.jpg`"]);
    lab.refuses("search index cat -k 0", 2, &["`k` is 0"]);
    lab.refuses("search index cat --filter cats", 2, &["the filter `cats`"]);
    lab.refuses("search vision cat", 1, &["vision is not an index"]);
    lab.refuses("search index cat --text-model vision", 1, &["text"]);

    // A file that was cut short, and another head.
    let head = lab.read("index/head.safetensors");
    fs::write(lab.path("index/head.safetensors"), &head[..head.len() - 4]).unwrap();
    lab.refuses("search index cat", 1, &["head.safetensors", "the SHA-256"]);
    fs::write(lab.path("index/head.safetensors"), &head).unwrap();
    let shard = "index/segments/000000/shard-00000.safetensors";
    let bytes = lab.read(shard);
    fs::write(lab.path(shard), &bytes[..bytes.len() - 8]).unwrap();
    lab.refuses("search index cat", 1, &["shard-00000.safetensors"]);
}
