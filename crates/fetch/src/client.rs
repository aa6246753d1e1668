//! Requests.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::http::HeaderMap;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::DefaultConnector;

use crate::address::{PrivateAddress, PublicResolver};
use crate::backoff::retry_after;
use crate::stop::POLL;
use crate::{FetchError, Stop};

/// The largest part of a body that is passed on at once.
const CHUNK: usize = 1 << 18;
/// The number of chunks that are received ahead.
const AHEAD: usize = 4;

/// Options of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// What the client calls itself to servers.
    pub user_agent: String,
    /// Maximum time until a connection is made.
    pub connect_timeout: Duration,
    /// Maximum time without data from the server.
    pub idle_timeout: Duration,
    /// Maximum time of a request with its redirects and its body.
    pub total_timeout: Option<Duration>,
    /// Maximum number of redirects.
    pub max_redirects: u32,
    /// Whether hosts may have addresses that are not public: loopback, link-local and those of private networks.
    pub private_addresses: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            user_agent: concat!("sail/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            total_timeout: None,
            max_redirects: 10,
            private_addresses: false,
        }
    }
}

/// A client, whose connections are kept open and shared by all threads.
///
/// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are respected.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
}

impl Client {
    /// Creates a client.
    pub fn new(options: &ClientOptions) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(&options.user_agent)
            // A compressed body has another length and other ranges than the file.
            .accept_encoding("identity")
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .max_redirects(options.max_redirects)
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_per_read(Some(options.idle_timeout))
            .timeout_global(options.total_timeout)
            .build();
        let connector = DefaultConnector::default();
        let agent = match options.private_addresses {
            true => Agent::with_parts(config, connector, DefaultResolver::default()),
            false => Agent::with_parts(config, connector, PublicResolver),
        };
        Self { agent }
    }

    /// Requests a URL and waits for the status and the headers of the response, whatever the status.
    ///
    /// # Errors
    /// [`FetchError`] if the URL is invalid, there is no response, or work should stop.
    pub fn get(&self, url: &str, headers: &[(&str, &str)], stop: &Stop) -> Result<Response, FetchError> {
        let mut request = self.agent.get(url);
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let (send, messages) = sync_channel(AHEAD);
        let run = move || match request.call() {
            Ok(response) => pump(response, &send),
            Err(error) => drop(send.send(Err(from_ureq(error)))),
        };
        thread::Builder::new().name("fetch".to_owned()).spawn(run).map_err(FetchError::Network)?;
        let mut messages = Messages { messages, stop: stop.clone() };
        match messages.next()? {
            Message::Head { status, headers } => {
                Ok(Response { status, headers, messages, is_complete: false })
            }
            _ => Err(lost()),
        }
    }
}

/// The response to a request, whose body is received in the background.
#[derive(Debug)]
pub struct Response {
    status: u16,
    headers: HeaderMap,
    messages: Messages,
    is_complete: bool,
}

impl Response {
    /// Returns the status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the text of a header, or the empty string.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns the length of the body, if the server announced it.
    pub fn length(&self) -> Option<u64> {
        self.header("content-length").parse().ok()
    }

    /// Returns the error for the status.
    pub fn status_error(&self) -> FetchError {
        let retry_after = retry_after(self.header("retry-after"), SystemTime::now());
        FetchError::Status { status: self.status, retry_after }
    }

    /// Waits for the next part of the body; `None` after the last.
    ///
    /// # Errors
    /// [`FetchError`] if the connection is interrupted or work should stop.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, FetchError> {
        if self.is_complete {
            return Ok(None);
        }
        match self.messages.next()? {
            Message::Data(bytes) => Ok(Some(bytes)),
            Message::End => {
                self.is_complete = true;
                Ok(None)
            }
            Message::Head { .. } => Err(lost()),
        }
    }

    /// Reads the body.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk), and [`FetchError::TooLarge`] if it has more than `max` bytes.
    pub fn read(&mut self, max: u64) -> Result<Vec<u8>, FetchError> {
        if self.length().is_some_and(|length| length > max) {
            return Err(FetchError::TooLarge { max });
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk()? {
            if (body.len() + chunk.len()) as u64 > max {
                return Err(FetchError::TooLarge { max });
            }
            body.extend(chunk);
        }
        Ok(body)
    }
}

/// What the thread of a request sends.
#[derive(Debug)]
enum Message {
    Head { status: u16, headers: HeaderMap },
    Data(Vec<u8>),
    End,
}

/// The messages of the thread. It ends when nobody receives them any more.
#[derive(Debug)]
struct Messages {
    messages: Receiver<Result<Message, FetchError>>,
    stop: Stop,
}

impl Messages {
    fn next(&mut self) -> Result<Message, FetchError> {
        loop {
            if self.stop.requested() {
                return Err(FetchError::Stopped);
            }
            match self.messages.recv_timeout(POLL) {
                Ok(message) => return message,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(lost()),
            }
        }
    }
}

fn lost() -> FetchError {
    FetchError::Network(std::io::ErrorKind::UnexpectedEof.into())
}

/// Sends a response until it ends or nobody receives it.
fn pump(response: ureq::http::Response<ureq::Body>, send: &SyncSender<Result<Message, FetchError>>) {
    let (head, body) = response.into_parts();
    let mut alive =
        send.send(Ok(Message::Head { status: head.status.as_u16(), headers: head.headers })).is_ok();
    let mut body = body.into_reader();
    let mut buffer = vec![0; CHUNK];
    while alive {
        let message = match body.read(&mut buffer) {
            Ok(0) => Ok(Message::End),
            Ok(read) => Ok(Message::Data(buffer.get(..read).unwrap_or_default().to_vec())),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Err(from_ureq(ureq::Error::from(error))),
        };
        let is_last = !matches!(message, Ok(Message::Data(_)));
        alive = send.send(message).is_ok() && !is_last;
    }
}

fn from_ureq(error: ureq::Error) -> FetchError {
    use ureq::{Error, Timeout};
    match error {
        Error::Io(error) => FetchError::Network(error),
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => FetchError::Timeout("no connection"),
        Error::Timeout(Timeout::Global | Timeout::PerCall) => FetchError::Timeout("not complete in time"),
        Error::Timeout(_) => FetchError::Timeout("the server sends no more"),
        Error::BadUri(_) | Error::Http(_) | Error::TooManyRedirects | Error::RedirectFailed => {
            FetchError::Url(error.to_string())
        }
        Error::Other(error) => match error.downcast::<PrivateAddress>() {
            Ok(private) => FetchError::Private { host: private.host, address: private.address },
            Err(error) => FetchError::Network(std::io::Error::other(error)),
        },
        error => FetchError::Network(error.into_io()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{SocketAddr, TcpListener};

    use ureq::config::Config;
    use ureq::http::Uri;
    use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
    use ureq::unversioned::transport::NextTimeout;

    use super::*;

    /// Knows one public host, which is the server of the test.
    #[derive(Debug)]
    struct OnePublicHost(SocketAddr);

    impl Resolver for OnePublicHost {
        fn resolve(
            &self,
            uri: &Uri,
            config: &Config,
            timeout: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, ureq::Error> {
            if uri.host() != Some("public.test") {
                return PublicResolver.resolve(uri, config, timeout);
            }
            let mut addresses = self.empty();
            addresses.push(self.0);
            Ok(addresses)
        }
    }

    #[test]
    fn a_public_host_cannot_redirect_to_a_private_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let head =
                    format!("HTTP/1.1 302 X\r\nLocation: http://{address}/\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).unwrap();
            }
        });
        let agent = Agent::with_parts(Config::default(), DefaultConnector::default(), OnePublicHost(address));
        let url = format!("http://public.test:{}/", address.port());
        let error = Client { agent }.get(&url, &[], &Stop::default());
        assert!(matches!(error, Err(FetchError::Private { .. })), "{error:?}");
    }
}
