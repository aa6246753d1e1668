//! Images by URL, and the captions beside them.

use super::*;

#[test]
fn lists_of_urls_are_images_with_the_keys_of_their_captions() {
    let folder = tempfile::tempdir().unwrap();
    let urls = ["https://example.org/a.jpg?size=1,2", "HTTP://example.org/b", "http://example.org/c d.png"];
    let csv = |header: &str| {
        let rows = urls.iter().enumerate().map(|(row, url)| format!("\"{url}\",caption {row}\n"));
        format!("{header}\n{}", rows.collect::<String>())
    };
    let lines = |image: &str, caption: &str| {
        let rows = urls.iter().enumerate();
        let rows = rows.map(|(row, url)| serde_json::json!({image: url, caption: format!("caption {row}")}));
        rows.map(|row| format!("{row}\n")).collect::<String>()
    };
    for (name, text) in [
        ("laion.csv", csv("URL,TEXT")),
        ("cc12m.tsv", csv("url,caption").replace("\",", "\"\t").replacen("url,", "url\t", 1)),
        ("lines.jsonl", lines("image_url", "text")),
        ("path.jsonl", lines("path", "caption")),
    ] {
        let table = file(&folder, name, text);
        let images = images(&table, &SourceOptions::default());
        let found: Vec<ImageData> = images.iter().map(|record| record.value.clone().unwrap()).collect();
        assert_eq!(found, urls.map(|url| ImageData::Url(url.to_owned())), "{name}");
        assert_eq!(keys(&images), urls, "{name}");
        let captions = captions(&table, &SourceOptions::default());
        assert_eq!(keys(&captions), urls, "{name}");
        assert_eq!(usable(&captions), [Some("caption 0"), Some("caption 1"), Some("caption 2")], "{name}");
    }
}

#[test]
fn local_paths_and_other_addresses_are_not_urls() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "http", "an image");
    let table =
        file(&folder, "a.csv", "path\nhttp\nftp://example.org/a.png\nfile:///etc/passwd\nhttps:/a.png\n");
    let images = images(&table, &SourceOptions::default());
    assert!(matches!(images[0].value, Ok(ImageData::File(_))));
    assert!(images[1..].iter().all(|record| record.value.is_err()), "{images:?}");
}
