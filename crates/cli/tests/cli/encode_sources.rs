//! `sail encode` on data as people have it: every record has a row or a reason, and both sides have the same keys.

use std::path::Path;

use sail_vl::core::FeatureSource;
use sail_vl::data::EmbeddingStore;
use sail_vl::extract::read_skipped;

use crate::benchmark;
use crate::lab::{Lab, Ran};

/// A PNG of 4 x 4 pixels of one color.
fn png(color: [u8; 3]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 4);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&color.repeat(16)).unwrap();
    bytes
}

fn file(lab: &Lab, name: &str, content: impl AsRef<[u8]>) {
    let path = lab.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Writes a tar in the old format.
fn tar(lab: &Lab, name: &str, members: &[(&str, &[u8])]) {
    let mut bytes = Vec::new();
    for (member, content) in members {
        let mut header = [0u8; 512];
        header[..member.len()].copy_from_slice(member.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = b'0';
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend(header);
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend([0; 1024]);
    file(lab, name, bytes);
}

fn images(lab: &Lab, input: &str, more: &str) -> Ran {
    lab.run(&format!("encode images --model vision --input {input} {more}"))
}

fn texts(lab: &Lab, input: &str, more: &str) -> Ran {
    lab.run(&format!("encode texts --model text --input {input} {more}"))
}

fn keys(path: &Path) -> Vec<String> {
    let store = EmbeddingStore::open(path).unwrap();
    let rows: Vec<usize> = (0..store.rows()).collect();
    store.keys(&rows).unwrap()
}

fn skipped(lab: &Lab, store: &str) -> Vec<(String, String)> {
    let skipped = read_skipped(&lab.path(store)).unwrap();
    skipped.into_iter().map(|skipped| (skipped.key, skipped.reason)).collect()
}

/// Two shards that number their samples from 0.
fn shards(lab: &Lab) {
    let (red, blue) = (png([250, 0, 0]), png([0, 0, 250]));
    tar(lab, "shards/a.tar", &[("0.png", &red), ("0.txt", b"red"), ("1.png", &blue), ("1.txt", b"blue")]);
    tar(lab, "shards/b.tar", &[("0.png", &blue), ("0.txt", b"blue"), ("1.png", &red), ("1.txt", b"red")]);
}

#[test]
fn shards_with_the_same_keys_pair_by_shard() {
    let lab = benchmark::lab();
    shards(&lab);
    images(&lab, "shards", "--out i").succeeded();
    texts(&lab, "shards", "--out t").succeeded();
    let expected = ["a/0", "a/1", "b/0", "b/1"];
    assert_eq!(keys(&lab.path("i")), expected);
    assert_eq!(keys(&lab.path("t")), expected);
    // Parts have the same keys.
    for part in 1..=2 {
        images(&lab, "shards", &format!("--batch 1 --part {part}/2 --out p{part}")).succeeded();
    }
    lab.run("store merge p1 p2 --out p").succeeded();
    assert_eq!(keys(&lab.path("p")), expected);

    // With keys that are stated to be unique, the second image of a key is skipped, and its caption is refused.
    images(&lab, "shards", "--key-scope source --out is").succeeded();
    assert_eq!(keys(&lab.path("is")), ["0", "1"]);
    let again = "an earlier record has the same key".to_owned();
    assert_eq!(skipped(&lab, "is"), [("0".to_owned(), again.clone()), ("1".to_owned(), again)]);
    texts(&lab, "shards", "--key-scope source --out ts")
        .failed(1, &["b.tar", "the key `0`", "a.tar", "by file"]);
    // An encoding with other keys cannot be resumed or merged.
    images(&lab, "shards", "--key-scope source --out i --resume").failed(2, &["other settings", "key_scope"]);
    images(&lab, "shards", "--key-scope source --batch 1 --part 2/2 --out q2").succeeded();
    lab.run("store merge p1 q2 --out q").failed(2, &["`settings`", "key_scope"]);
}

#[test]
fn every_file_of_a_folder_is_accounted_for() {
    let lab = benchmark::lab();
    for name in ["a.png", "sub/b.PNG", ".hidden.png", "__MACOSX/a.png"] {
        file(&lab, &format!("photos/{name}"), png([9, 9, 9]));
    }
    file(&lab, "photos/broken.png", "not an image");
    for name in ["c.psd", "sub/d.psd", "Thumbs.db"] {
        file(&lab, &format!("photos/{name}"), "x");
    }
    let line = "passed over 3 files: 2 .psd, 1 .db; see i/passed_over.json";
    let ran = images(&lab, "photos", "--out i").succeeded();
    assert!(ran.out.contains(line), "{}", ran.out);
    assert_eq!(keys(&lab.path("i")), ["a.png", "sub/b.PNG"]);
    assert_eq!(skipped(&lab, "i")[0].0, "broken.png");
    let file: serde_json::Value = serde_json::from_slice(&lab.read("i/passed_over.json")).unwrap();
    let json = images(&lab, "photos", "--out j --json").json();
    assert_eq!(json["passed_over"], file);
    assert_eq!(file["suffixes"]["psd"]["examples"], serde_json::json!(["c.psd", "sub/d.psd"]));
    assert_eq!((json["rows"].as_u64(), json["skipped"].as_u64()), (Some(2), Some(1)));
    // Nothing else is written where there is nothing to tell.
    let plan = images(&lab, "photos/sub", "--out k --dry-run").succeeded();
    assert!(plan.out.contains("passed over 1 file: 1 .psd"), "{}", plan.out);
    std::fs::remove_file(lab.path("photos/sub/d.psd")).unwrap();
    images(&lab, "photos/sub", "--out k").succeeded();
    assert!(!lab.path("k/passed_over.json").exists());
    // Parts have the list of the whole source.
    for part in 1..=2 {
        images(&lab, "photos", &format!("--batch 1 --part {part}/2 --out p{part}")).succeeded();
    }
    lab.run("store merge p1 p2 --out p").succeeded();
    assert!(lab.path("p/passed_over.json").exists());

    std::fs::create_dir(lab.path("none")).unwrap();
    std::fs::rename(lab.path("photos/c.psd"), lab.path("none/c.psd")).unwrap();
    images(&lab, "none", "--out n").failed(1, &["contains no images", "passed over 1 file: 1 .psd"]);
    tar(&lab, "none.tar", &[("c.psd", b"x"), ("c.txt", b"x")]);
    images(&lab, "none.tar", "--out n").failed(1, &["no records", "passed over 2 files: 1 .psd, 1 .txt"]);
}

#[test]
fn fields_of_samples_are_chosen_by_option() {
    let lab = benchmark::lab();
    let image = png([1, 2, 3]);
    let members: [(&str, &[u8]); 4] =
        [("0.input.png", &image), ("0.target.png", b"x"), ("0.prompt.txt", b"a"), ("0.outputs.txt", b"b")];
    tar(&lab, "a.tar", &members);
    images(&lab, "a.tar", "--out i").succeeded();
    assert_eq!(keys(&lab.path("i")), ["0"]);
    let [(key, reason)] = &skipped(&lab, "i")[..] else { panic!() };
    assert!(key == "0.target.png" && reason.contains("`--image-column target.png`"), "{reason}");
    images(&lab, "a.tar", "--image-column input.png --out j").succeeded();
    assert_eq!(skipped(&lab, "j"), []);
    texts(&lab, "a.tar", "--caption-column outputs.txt --image-column input.png --out t").succeeded();
    assert_eq!((keys(&lab.path("t")), skipped(&lab, "t")), (vec!["0".to_owned()], vec![]));
}

#[test]
fn captions_beside_images_pair_with_them() {
    let lab = benchmark::lab();
    for (name, color) in [("00000/000000000", [255, 0, 0]), ("00001/000010000", [0, 255, 0])] {
        file(&lab, &format!("data/{name}.png"), png(color));
        file(&lab, &format!("data/{name}.txt"), "a color");
        file(&lab, &format!("data/{name}.json"), "{\"caption\": \"a color\", \"similarity\": NaN}");
    }
    images(&lab, "data", "--out i").succeeded();
    texts(&lab, "data", "--out t").succeeded();
    texts(&lab, "data", "--caption-column caption --out j").succeeded();
    let expected = ["00000/000000000.png", "00001/000010000.png"];
    for store in ["i", "t", "j"] {
        assert_eq!(keys(&lab.path(store)), expected, "{store}");
    }
}

#[test]
fn tables_without_header_and_quotes() {
    let lab = benchmark::lab();
    file(&lab, "cc.tsv", "\"a cat\thttp://example.com/1\na dog\thttp://example.com/2\n");
    texts(&lab, "cc.tsv", "--no-header --no-quotes --caption-column 1 --key-column 2 --out t").succeeded();
    assert_eq!(keys(&lab.path("t")), ["http://example.com/1", "http://example.com/2"]);
    // With quotes, the row with an open one is skipped alone.
    texts(&lab, "cc.tsv", "--no-header --caption-column 1 --key-column 2 --out q").succeeded();
    let [(key, reason)] = &skipped(&lab, "q")[..] else { panic!() };
    assert!(key == "row 1" && reason.starts_with("a quote opens in the row (line 1)"), "{key}: {reason}");
    assert_eq!(keys(&lab.path("q")), ["http://example.com/2"]);
    texts(&lab, "cc.tsv", "--no-quotes --out r").failed(2, &["no usable column", "a cat`"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_unless_refused() {
    use std::os::unix::fs::symlink;
    let lab = benchmark::lab();
    file(&lab, "pool/cat/0.png", png([1, 2, 3]));
    std::fs::create_dir(lab.path("data")).unwrap();
    symlink(lab.path("pool/cat"), lab.path("data/cat")).unwrap();
    symlink(lab.path("pool/cat/0.png"), lab.path("data/one.png")).unwrap();
    images(&lab, "data", "--out i").succeeded();
    assert_eq!(keys(&lab.path("i")), ["cat/0.png", "one.png"]);
    images(&lab, "data", "--no-follow-links --out j").failed(1, &["all 2 records are unusable"]);
    assert_eq!(skipped(&lab, "j").len(), 2);
}
