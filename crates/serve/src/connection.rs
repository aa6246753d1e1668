//! Connections and their limits.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use sail_core::Check;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use crate::error::ServeError;
use crate::options::ConnectionOptions;

/// Bytes for the head of a request, and for what is read ahead of its body.
const HEAD: usize = 64 << 10;
/// Header lines of a request.
const HEADERS: usize = 64;

/// Serves a router over HTTP/1.1 until `stop` is ready. Then no connection is accepted, those that are idle are closed, and
/// requests under way are answered, if they are in time.
///
/// # Errors
/// [`ServeError::Config`] for invalid options. Errors of single connections are logged and end these.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ConnectionOptions,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    options.check()?;
    let places = Arc::new(Semaphore::new(options.connections));
    let graceful = GracefulShutdown::new();
    let accept = async {
        loop {
            // The semaphore is never closed.
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    refused(&error).await;
                    continue;
                }
            };
            let connection = connection(stream, router.clone(), &options);
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!("connection ended: {error}");
                }
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = stop => {}
    }
    drop(listener);
    if timeout(options.stop, graceful.shutdown()).await.is_err() {
        tracing::warn!("stopped before all requests were answered");
    }
    Ok(())
}

/// A stream whose writes have a time limit.
type Stream = TokioIo<Pin<Box<TimeoutStream<TcpStream>>>>;

fn connection(
    stream: TcpStream,
    router: Router,
    options: &ConnectionOptions,
) -> http1::Connection<Stream, TowerToHyperService<Router>> {
    // Responses are small and complete.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(options.write));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head)
        .max_buf_size(HEAD)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router))
}

/// An error of accepting: of the connection, or of the process, which must wait until others are closed.
async fn refused(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!("cannot accept a connection: {error}");
        sleep(Duration::from_secs(1)).await;
    }
}
