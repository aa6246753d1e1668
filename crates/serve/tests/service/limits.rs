//! What the service refuses, and what it survives.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sail_serve::{ConnectionOptions, RouterOptions, ServiceOptions};
use serde_json::json;

use crate::http::{Response, base64, connect, exchange, get, post, read, request};
use crate::server::{Server, Setup, paint, png};

const SHORT: Duration = Duration::from_millis(300);

fn is_alive(server: &Server) {
    let answer = post(server.address, "/v1/search", &json!({ "text": "red", "k": 1 }));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Sends a search for a text on a thread of its own.
fn search(server: &Server, text: &str) -> std::thread::JoinHandle<Response> {
    let (address, query) = (server.address, json!({ "text": text }));
    std::thread::spawn(move || post(address, "/v1/search", &query))
}

#[test]
fn a_large_body_is_refused_before_it_is_sent() {
    let server = Server::start();
    let head = format!(
        "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        256 << 20
    );
    // Nothing of the body is sent.
    let answer = exchange(server.address, head.as_bytes());
    assert_eq!(answer.status, 413);
    assert_eq!(answer.message(), "the request body is too large, expected at most 16777216 bytes");
    // A length that no number holds.
    let head = head.replace(&(256 << 20).to_string(), "99999999999999999999999");
    assert_eq!(exchange(server.address, head.as_bytes()).status, 400);
    is_alive(&server);
}

#[test]
fn a_body_of_unknown_length_is_read_to_the_limit() {
    let server = Server::with(Setup {
        router: RouterOptions { max_body: 100_000, bodies: 100_000, ..RouterOptions::default() },
        ..Setup::default()
    });
    let mut stream = connect(server.address);
    let head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [format!("{:x}\r\n", 50_000).as_bytes(), &vec![b' '; 50_000], b"\r\n"].concat();
    (0..3).for_each(|_| drop(stream.write_all(&chunk)));
    assert_eq!(read(&mut stream).unwrap().status, 413);
    is_alive(&server);
}

#[test]
fn bodies_under_way_share_a_budget() {
    let server = Server::with(Setup {
        router: RouterOptions { max_body: 10_000, bodies: 10_000, ..RouterOptions::default() },
        ..Setup::default()
    });
    let large = json!({ "text": "red", "filters": ["a=".to_owned() + &"b".repeat(8_000)] }).to_string();
    let large = request("/v1/search", "application/json", large.as_bytes());
    let mut unfinished = connect(server.address);
    unfinished.write_all(&large[..large.len() - 1]).unwrap();
    // Until the part has arrived, the budget suffices for another one.
    let began = Instant::now();
    let refused = loop {
        let answer = exchange(server.address, &large);
        if answer.status == 503 || began.elapsed() > Duration::from_secs(30) {
            break answer;
        }
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    is_alive(&server);
    unfinished.write_all(&large[large.len() - 1..]).unwrap();
    assert_eq!(read(&mut unfinished).unwrap().status, 400);
    assert_eq!(exchange(server.address, &large).status, 400);
}

#[test]
fn slow_clients_are_cut_off() {
    let server = Server::with(Setup {
        router: RouterOptions { timeout: SHORT, ..RouterOptions::default() },
        connections: ConnectionOptions { head: SHORT, ..ConnectionOptions::default() },
        ..Setup::default()
    });
    let mut head = connect(server.address);
    head.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    let mut idle = connect(server.address);
    let mut body = connect(server.address);
    let query = request("/v1/search", "application/json", b"{\"text\": \"red\"}");
    body.write_all(&query[..query.len() - 1]).unwrap();
    let answer = read(&mut body).unwrap();
    assert_eq!((answer.status, answer.message().contains("did not arrive")), (408, true));
    for stream in [&mut head, &mut idle, &mut body] {
        // Closed, perhaps after an answer.
        let closed = stream.read_to_end(&mut Vec::new());
        assert!(
            closed.is_ok() || closed.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
        );
    }
    is_alive(&server);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let server = Server::with(Setup {
        connections: ConnectionOptions { write: SHORT, ..ConnectionOptions::default() },
        ..Setup::default()
    });
    let mut stream = connect(server.address);
    let request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    // Requests are read until the answers do not get away.
    while stream.write_all(&request).is_ok() {}
    is_alive(&server);
}

#[test]
fn garbage_is_answered_or_cut_off() {
    let server = Server::start();
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(1_000_000));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(100));
    let garbage: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for bytes in [
        &b"\x16\x03\x01\0\xa5\x01\0\0"[..],
        b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        &garbage,
        long.as_bytes(),
        many.as_bytes(),
    ] {
        let mut stream = connect(server.address);
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        if let Some(answer) = read(&mut stream) {
            let sent = bytes[..bytes.len().min(60)].escape_ascii();
            assert!((400..500).contains(&answer.status), "{sent}: {}", answer.status);
        }
    }
    for body in [&garbage[..], b"", b"{", b"[1]", b"{\"text\": \"\xff\"}", "[".repeat(100_000).as_bytes()] {
        let answer = exchange(server.address, &request("/v1/search", "application/json", body));
        assert_eq!(answer.status, 400, "{}", answer.text());
        let form = request("/v1/search", "multipart/form-data; boundary=x", body);
        assert_eq!(exchange(server.address, &form).status, 400);
    }
    assert_eq!(exchange(server.address, &request("/v1/search", "multipart/form-data", b"x")).status, 400);
    let answer = exchange(server.address, &request("/v1/search", "text/plain", b"red"));
    assert_eq!(
        answer.message(),
        "the content type is `text/plain`, expected `application/json` or `multipart/form-data`"
    );
    is_alive(&server);
}

#[test]
fn pixels_are_limited_before_they_are_decoded() {
    let server = Server::with(Setup {
        service: ServiceOptions { max_pixels: 10_000, ..ServiceOptions::default() },
        ..Setup::default()
    });
    let embed =
        |image: Vec<u8>| post(server.address, "/v1/embed/image", &json!({ "images": [base64(&image)] }));
    assert_eq!(embed(png(100, 100, [9; 3])).status, 200);
    let answer = embed(png(101, 100, [9; 3]));
    assert_eq!(answer.status, 422);
    assert!(answer.message().contains("10000"), "{}", answer.message());
}

#[test]
fn a_full_queue_answers_at_once_and_nothing_accepted_is_lost() {
    let server = Server::with(Setup {
        service: ServiceOptions { queue: 2, batch: 2, ..ServiceOptions::default() },
        ..Setup::default()
    });
    let busy = search(&server, "wait");
    server.gate.reached();
    let waiting: Vec<_> = ["red", "green"].map(|text| search(&server, text)).into();
    let is_full = || get(server.address, "/metrics").text().contains("sail_queue_length{stage=\"model\"} 2");
    while !is_full() {
        std::thread::sleep(SHORT);
    }
    let refused = search(&server, "blue").join().unwrap();
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.json()["error"]["type"], "overloaded_error");
    assert!(is_full());
    server.gate.open();
    assert_eq!(busy.join().unwrap().status, 200);
    for (request, first) in waiting.into_iter().zip(["warm/red.png", "cold/green.png"]) {
        let answer = request.join().unwrap();
        assert_eq!((answer.status, &answer.json()["hits"][0]["key"]), (200, &json!(first)));
    }
}

#[test]
fn an_answer_that_takes_too_long_is_given_up() {
    let server = Server::with(Setup {
        router: RouterOptions { timeout: SHORT, ..RouterOptions::default() },
        ..Setup::default()
    });
    let answer = search(&server, "wait").join().unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.json()["error"]["type"], "timeout_error");
    server.gate.open();
    is_alive(&server);
}

#[test]
fn a_panic_of_the_model_fails_its_request_only() {
    let server = Server::start();
    let wait = search(&server, "wait");
    server.gate.reached();
    let others = ["panic", "red", "panic", "green"].map(|text| search(&server, text));
    server.gate.open();
    let statuses = others.map(|other| other.join().unwrap().status);
    assert_eq!(statuses, [500, 200, 500, 200]);
    assert_eq!(wait.join().unwrap().status, 200);
    let answer = search(&server, "panic").join().unwrap();
    assert_eq!(answer.message(), "the service failed: its log has the cause");
    is_alive(&server);
}

#[test]
fn with_a_token_only_the_page_is_public() {
    let server = Server::with(Setup {
        router: RouterOptions { token: Some("s3cret".to_owned()), ..RouterOptions::default() },
        ..Setup::default()
    });
    for target in ["/", "/page.css", "/page.js", "/health", "/openapi.json"] {
        assert_eq!(get(server.address, target).status, 200, "{target}");
    }
    for target in
        ["/metrics", "/v1/index", "/v1/models", "/images/x", "/images/x/original", "/nothing", "/v1/search"]
    {
        let answer = get(server.address, target);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{target}");
    }
    let with = |token: &str| {
        let head = format!(
            "GET /v1/index HTTP/1.1\r\nHost: any\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        exchange(server.address, head.as_bytes()).status
    };
    assert_eq!([with("s3cret"), with("s3cre"), with("s3crets"), with("")], [200, 401, 401, 401]);
    // Refused before the body.
    let large = format!("POST /v1/search HTTP/1.1\r\nHost: any\r\nContent-Length: {}\r\n\r\n", 1 << 20);
    assert_eq!(exchange(server.address, large.as_bytes()).status, 401);
}

#[test]
fn other_hosts_and_other_sites_are_refused() {
    let hosts = Some(RouterOptions::LOOPBACK.map(str::to_owned).to_vec());
    let server = Server::with(Setup {
        router: RouterOptions { hosts, ..RouterOptions::default() },
        ..Setup::default()
    });
    let with =
        |headers: &str| exchange(server.address, format!("GET / HTTP/1.1\r\n{headers}\r\n\r\n").as_bytes());
    assert_eq!(with("Host: 127.0.0.1:8080").status, 200);
    let answer = with("Host: rebound.example");
    assert_eq!(answer.status, 403);
    assert!(answer.message().contains("`rebound.example`, expected one of localhost, 127.0.0.1, [::1]"));
    assert_eq!(with("Host: localhost\r\nOrigin: http://rebound.example").status, 403);
    assert_eq!(with("Host: localhost\r\nOrigin: http://localhost").status, 200);
    is_alive(&server);
}

#[test]
fn every_answer_forbids_what_it_does_not_need() {
    let server = Server::start();
    let answers = [
        get(server.address, "/"),
        get(server.address, "/nothing"),
        get(server.address, "/v1/search"),
        post(server.address, "/v1/search", &json!({ "text": "red" })),
        post(server.address, "/v1/search", &json!({ "text": "panic" })),
    ];
    for answer in &answers {
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
        assert!(answer.header("cache-control").is_some());
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[test]
fn a_stop_answers_what_is_under_way() {
    let mut server = Server::start();
    let under_way = search(&server, "wait");
    server.gate.reached();
    let mut idle = connect(server.address);
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(read(&mut idle).unwrap().status, 200);
    server.stop();
    // Idle connections are closed, new ones refused.
    assert!(read(&mut idle).is_none());
    let began = Instant::now();
    while TcpStream::connect(server.address).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(30), "still accepts");
    }
    assert!(!under_way.is_finished());
    server.gate.open();
    assert_eq!(under_way.join().unwrap().status, 200);
    server.join();
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = Server::with(Setup {
        connections: ConnectionOptions { connections: 2, ..ConnectionOptions::default() },
        ..Setup::default()
    });
    let taken = [connect(server.address), connect(server.address)];
    let waiting = search(&server, "red");
    std::thread::sleep(SHORT);
    assert!(!waiting.is_finished());
    drop(taken);
    assert_eq!(waiting.join().unwrap().status, 200);
}

#[test]
fn searches_go_on_while_the_index_is_replaced() {
    let server = Server::start();
    let address = server.address;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut answered = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let answer = post(address, "/v1/search", &json!({ "text": "red", "k": 1 }));
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    for step in 0..5u8 {
        paint(&server.images().join(format!("warm/{step}.png")), [250, 200, step]);
        std::fs::remove_file(server.images().join(format!("warm/{}.png", step.wrapping_sub(2)))).ok();
        server.update();
        assert!(server.service.reload().unwrap());
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for client in clients {
        assert!(client.join().unwrap() > 0);
    }
}
