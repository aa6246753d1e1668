//! An HTTP server on localhost with scripted responses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is sent for a request.
pub(crate) enum Answer {
    /// Bytes, after which the connection is closed.
    Close(Vec<u8>),
    /// Bytes, after which nothing happens.
    Silence(Vec<u8>),
}

pub(crate) struct Server {
    pub(crate) address: String,
    paths: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers the request with this path; the number counts all requests from 0.
    pub(crate) fn start(answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let paths = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (paths.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || respond(stream, &seen, &*answer));
            }
        });
        Self { address, paths }
    }

    /// Returns the paths of the requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.paths.lock().unwrap())
    }
}

fn respond(mut stream: TcpStream, seen: &Mutex<Vec<String>>, answer: &dyn Fn(&str, usize) -> Answer) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let mut paths = seen.lock().unwrap();
    let number = paths.len();
    paths.push(path.clone());
    drop(paths);
    // The client may have disconnected.
    match answer(&path, number) {
        Answer::Close(bytes) => drop(stream.write_all(&bytes)),
        Answer::Silence(bytes) => {
            let _ = stream.write_all(&bytes);
            let _ = stream.read(&mut [0; 1]);
        }
    }
}

/// A response whose body has the announced length.
pub(crate) fn response(status: u16, headers: &str, body: &[u8]) -> Answer {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    Answer::Close([head.as_bytes(), body].concat())
}
