//! Files from a server on localhost with faults.

#![allow(clippy::unwrap_used, clippy::panic)]

mod server;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sail_fetch::{ClientOptions, FetchError, RetryPolicy, Stop, UrlFetcher};
use server::{Answer, Server, response};

const IMAGE: &[u8] = b"\xff\xd8 the bytes of an image";
const MAX: u64 = 1 << 20;

fn local() -> ClientOptions {
    ClientOptions { private_addresses: true, ..ClientOptions::default() }
}

fn retry() -> RetryPolicy {
    RetryPolicy { attempts: 3, delay: Duration::from_millis(1), ..RetryPolicy::default() }
}

fn fetcher() -> UrlFetcher {
    UrlFetcher::new(&local(), retry(), MAX, Stop::default())
}

fn read(fetcher: &UrlFetcher, url: &str) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    fetcher.fetch(url)?.read_to_end(&mut bytes).unwrap();
    Ok(bytes)
}

#[test]
fn addresses_are_encoded_as_browsers_do() {
    let server = Server::start(|_, _| response(200, "", IMAGE));
    let url = format!(" {}/a b/größe.jpg?q=ä#part ", server.address);
    assert_eq!(read(&fetcher(), &url).unwrap(), IMAGE);
    assert_eq!(server.requests(), ["/a%20b/gr%C3%B6%C3%9Fe.jpg?q=%C3%A4"]);
    for url in ["ftp://example.org/a.png", "file:///etc/passwd", "http://", "http://[::1", "a.png", ""] {
        let error = read(&fetcher(), url);
        assert!(matches!(error, Err(FetchError::Url(_))), "{url}: {error:?}");
    }
}

#[test]
fn long_files_are_as_complete_as_short_ones() {
    let long: Vec<u8> = (0..MAX / 4).flat_map(|value| (value as u32).to_le_bytes()).collect();
    let sent = long.clone();
    let server = Server::start(move |_, _| response(200, "", &sent));
    assert!(read(&fetcher(), &server.address).unwrap() == long);
}

#[test]
fn the_cache_holds_what_was_fetched() {
    let server = Server::start(|path, _| match path {
        "/missing.png" => response(404, "", b"<html>not here</html>"),
        _ => response(200, "", path.as_bytes()),
    });
    let folder = tempfile::tempdir().unwrap();
    let cached = fetcher().with_cache(folder.path().join("cache")).unwrap();
    let (a, b) = (format!("{}/a.png", server.address), format!("{}/b.png", server.address));
    let missing = format!("{}/missing.png", server.address);
    for _ in 0..2 {
        assert_eq!(read(&cached, &a).unwrap(), b"/a.png");
        assert_eq!(read(&cached, &b).unwrap(), b"/b.png");
        assert!(matches!(read(&cached, &missing), Err(FetchError::Status { status: 404, .. })));
    }
    assert_eq!(server.requests(), ["/a.png", "/b.png", "/missing.png", "/missing.png"]);
    let folders = std::fs::read_dir(folder.path().join("cache")).unwrap().map(Result::unwrap);
    let files: usize = folders.map(|entry| std::fs::read_dir(entry.path()).unwrap().count()).sum();
    assert_eq!(files, 2, "no temporary files");
}

#[test]
fn failures_that_pass_are_repeated() {
    type Respond = fn() -> Answer;
    let cut = || Answer::Close(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf".to_vec());
    let answers: [(&str, Respond); 4] = [
        ("busy", || response(503, "", b"")),
        ("limited", || response(429, "Retry-After: 0\r\n", b"")),
        ("cut", || Answer::Close(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf".to_vec())),
        ("closed", || Answer::Close(Vec::new())),
    ];
    for (name, answer) in answers {
        let server =
            Server::start(move |_, number| if number < 2 { answer() } else { response(200, "", IMAGE) });
        assert_eq!(read(&fetcher(), &server.address).unwrap(), IMAGE, "{name}");
        assert_eq!(server.requests().len(), 3, "{name}");
    }
    for (status, requests) in [(404, 1), (403, 1), (410, 1), (500, 3), (429, 3)] {
        let server = Server::start(move |_, _| response(status, "", b""));
        let error = read(&fetcher(), &server.address).unwrap_err();
        assert_eq!(error.to_string(), format!("status {status}"));
        assert_eq!(server.requests().len(), requests, "{status}");
    }
    let server = Server::start(move |_, _| cut());
    assert!(matches!(read(&fetcher(), &server.address), Err(FetchError::Network(_))));
}

#[test]
fn sizes_are_limited() {
    let announced = || format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n", MAX + 1).into_bytes();
    let server = Server::start(move |_, _| Answer::Silence(announced()));
    assert!(matches!(read(&fetcher(), &server.address), Err(FetchError::TooLarge { max: MAX })));
    // Without an announced length, and without an end.
    let server = Server::start(|_, _| {
        let chunk = [b"10000\r\n".to_vec(), vec![7; 1 << 16], b"\r\n".to_vec()].concat();
        let head = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        Answer::Silence([head, chunk.repeat(17)].concat())
    });
    assert!(matches!(read(&fetcher(), &server.address), Err(FetchError::TooLarge { max: MAX })));
}

#[test]
fn a_page_is_not_an_image() {
    let server = Server::start(|_, _| response(200, "", b"<!DOCTYPE html>this image has been removed"));
    let error = read(&fetcher(), &server.address).unwrap_err().to_string();
    assert!(error.starts_with("received an HTML page instead of the file"), "{error}");
}

#[test]
fn redirects_are_followed_up_to_a_limit() {
    let server = Server::start(|path, _| match path {
        "/old" => response(301, "Location: /new\r\n", b""),
        "/new" => response(200, "", IMAGE),
        _ => response(302, "Location: /again\r\n", b""),
    });
    assert_eq!(read(&fetcher(), &format!("{}/old", server.address)).unwrap(), IMAGE);
    server.requests();
    let error = read(&fetcher(), &format!("{}/again", server.address));
    assert!(matches!(error, Err(FetchError::Url(_))), "{error:?}");
    assert_eq!(server.requests().len(), 1 + local().max_redirects as usize);
}

#[test]
fn private_addresses_are_refused() {
    let server = Server::start(|_, _| response(200, "", IMAGE));
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    let public = UrlFetcher::new(&ClientOptions::default(), retry(), MAX, Stop::default());
    for host in [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
    ] {
        let error = read(&public, &format!("http://{host}:{port}/"));
        assert!(matches!(error, Err(FetchError::Private { .. })), "{host}: {error:?}");
    }
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn silent_servers_are_left() {
    for sent in [&b""[..], b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nhalf"] {
        let server = Server::start(move |_, _| Answer::Silence(sent.to_vec()));
        let options = ClientOptions { total_timeout: Some(Duration::from_millis(200)), ..local() };
        let error = read(&UrlFetcher::new(&options, retry(), MAX, Stop::default()), &server.address);
        assert!(matches!(error, Err(FetchError::Timeout(_))), "{error:?}");
        assert_eq!(server.requests().len(), 1, "not again");

        // A request to stop does not wait for the timeout.
        let flag = Arc::new(AtomicBool::new(false));
        let seen = flag.clone();
        let stop = Stop::new(move || seen.load(Ordering::Relaxed));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let fetcher = UrlFetcher::new(&local(), retry(), MAX, stop);
            let url = &server.address;
            let fetch = scope.spawn(move || read(&fetcher, url));
            while server.requests().is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            flag.store(true, Ordering::Relaxed);
            let error = fetch.join().unwrap();
            assert!(matches!(error, Err(FetchError::Stopped)), "{error:?}");
        });
        assert!(begun.elapsed() < local().idle_timeout / 2, "{:?}", begun.elapsed());
    }
}
