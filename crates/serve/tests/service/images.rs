//! Images come from the index, whatever a request asks for.

use sail_search::EntryId;

use crate::http::get;
use crate::server::Server;

#[test]
fn thumbnails_and_files_of_entries() {
    let server = Server::start();
    let id = EntryId::of("cold/blue.png");
    let thumbnail = get(server.address, &format!("/images/{id}"));
    assert_eq!((thumbnail.status, thumbnail.header("content-type")), (200, Some("image/jpeg")));
    assert!(thumbnail.body.starts_with(&[0xFF, 0xD8, 0xFF]));
    let file = server.images().join("cold/blue.png");
    let original = get(server.address, &format!("/images/{id}/original"));
    assert_eq!((original.status, original.header("content-type")), (200, Some("image/png")));
    assert_eq!(original.body, std::fs::read(&file).unwrap());
    assert_eq!(original.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn a_file_that_is_not_what_was_indexed_is_refused() {
    let server = Server::start();
    let file = server.images().join("cold/blue.png");
    let target = format!("/images/{}/original", EntryId::of("cold/blue.png"));
    let refused = || {
        let answer = get(server.address, &target);
        assert_eq!(
            (answer.status, answer.message()),
            (404, "the file of this entry has changed since it was indexed".to_owned())
        );
    };
    let bytes = std::fs::read(&file).unwrap();
    // Of the same length, longer, another file, gone.
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&file, changed).unwrap();
    refused();
    std::fs::write(&file, [&bytes[..], b"more"].concat()).unwrap();
    refused();
    std::fs::remove_file(&file).unwrap();
    refused();
    #[cfg(unix)]
    {
        let secret = server.images().join("secret.png");
        crate::server::paint(&secret, [1, 2, 3]);
        std::os::unix::fs::symlink(&secret, &file).unwrap();
        refused();
        std::fs::remove_file(&file).unwrap();
    }
    std::fs::create_dir(&file).unwrap();
    refused();
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(get(server.address, &target).status, 200);
    // The thumbnail is in the index.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(get(server.address, target.strip_suffix("/original").unwrap()).status, 200);
}

#[test]
fn no_part_of_a_request_is_a_path() {
    let server = Server::start();
    let id = EntryId::of("cold/blue.png").to_string();
    let long = "a".repeat(5000);
    for target in [
        "/images/../index/index.json",
        "/images/..%2findex%2findex.json",
        "/images/%2e%2e/%2e%2e/etc/passwd",
        "/images/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/images//etc/passwd",
        "/images/%2fetc%2fpasswd",
        "/images/cold/blue.png",
        "/images/cold%2fblue.png",
        "/images/%00",
        "/images/%ff",
        "/images/..",
        "/images/",
        "/images/+",
        &format!("/images/{id}/../../../index/index.json"),
        &format!("/images/{id}%00"),
        &format!("/images/{id}."),
        &format!("/images/{id}/original/../../index.json"),
        &format!("/images/{}", &id[1..]),
        &format!("/images/{id}0"),
        &format!("/images/{long}"),
        "/../../etc/passwd",
        "//etc/passwd",
        "/page.css/../../Cargo.toml",
        "/%2e%2e/Cargo.toml",
    ] {
        let answer = get(server.address, target);
        assert!([400, 404].contains(&answer.status), "{target}: {}", answer.status);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{target}");
    }
    let capital = get(server.address, &format!("/images/{}", id.to_uppercase()));
    assert_eq!(capital.status, 200);
}
