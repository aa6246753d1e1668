//! `sail serve`.

use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use sail_vl::allocator::release_freed_memory;
use sail_vl::search::Index;
use sail_vl::serve::{ConnectionOptions, RouterOptions, ServeError, Service, ServiceOptions, router, serve};

use crate::error::CliError;
use crate::interrupt;
use crate::models::IndexModelArgs;
use crate::progress;

/// How often it is checked whether the user has interrupted.
const INTERRUPTS: Duration = Duration::from_millis(100);
/// How often freed memory is returned to the operating system.
const RELEASES: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// The index, a folder that `sail index` made.
    #[arg(value_name = "INDEX")]
    index: PathBuf,
    /// Address and port to listen on; port 0 stands for any. An address that other machines can reach requires a token.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    bind: SocketAddr,
    /// Token that requests must bear. In the environment it is not seen in the list of processes.
    #[arg(long, value_name = "TOKEN", env = "SAIL_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Another host name that requests may be addressed to, such as that of a proxy before the service; repeat it for several
    /// [default: on a loopback address localhost, else any].
    #[arg(long = "allow-host", value_name = "HOST")]
    allow_hosts: Vec<String>,
    #[command(flatten)]
    model: IndexModelArgs,
    /// Inputs that may wait for the model. Requests beyond it are refused with status 503.
    #[arg(long, value_name = "INPUTS", default_value_t = ServiceOptions::default().queue)]
    queue: usize,
    /// Inputs that go through the model at once.
    #[arg(long, value_name = "INPUTS", default_value_t = ServiceOptions::default().batch)]
    batch: usize,
    /// Time to receive a request, and time to answer it, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    timeout: f64,
    /// Largest body of a request.
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize::mib(16))]
    max_body: ByteSize,
    /// Most pixels of an image in a request.
    #[arg(long, value_name = "PIXELS", default_value_t = ServiceOptions::default().max_pixels)]
    max_pixels: u64,
    /// Connections at a time.
    #[arg(long, value_name = "CONNECTIONS", default_value_t = ConnectionOptions::default().connections)]
    connections: usize,
    /// How often the service looks for changes of the index, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    refresh: f64,
}

pub(crate) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let refresh = duration("--refresh", args.refresh)?;
    let options = args.router()?;
    let device = args.model.device()?;
    let index = Index::open(&args.index);
    let index = index.map_err(|source| CliError::Index { path: args.index.as_path().into(), source })?;
    let model = Arc::new(args.model.open(&index, &device)?);
    let service = ServiceOptions {
        queue: args.queue,
        batch: args.batch,
        max_pixels: args.max_pixels,
        ..ServiceOptions::default()
    };
    let service = Arc::new(Service::new(&args.index, model, service).map_err(CliError::Serve)?);
    let router = router(service.clone(), options).map_err(CliError::Serve)?;
    let connections = ConnectionOptions { connections: args.connections, ..ConnectionOptions::default() };
    // From here on an interrupt lets requests under way finish.
    let _saving = interrupt::Saving::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listen = tokio::net::TcpListener::bind(args.bind).await;
        let listener = listen.map_err(|error| CliError::Serve(ServeError::Listen(error)))?;
        let address = listener.local_addr()?;
        writeln!(stdout(), "serving {} images at http://{address}", service.rows())?;
        tokio::spawn(service.watch(refresh));
        tokio::spawn(release_memory());
        serve(listener, router, connections, interrupted()).await.map_err(CliError::Serve)?;
        progress::line("stopped");
        Ok(())
    })
}

impl ServeArgs {
    fn router(&self) -> Result<RouterOptions, CliError> {
        let is_local = self.bind.ip().is_loopback();
        if !is_local && self.token.is_none() {
            return Err(CliError::Usage(format!(
                "other machines can reach {}: set a token, `--token` or SAIL_TOKEN, or bind to 127.0.0.1",
                self.bind
            )));
        }
        let local = RouterOptions::LOOPBACK.iter().filter(|_| is_local).map(|&host| host.to_owned());
        let hosts: Vec<String> = local.chain(self.allow_hosts.iter().cloned()).collect();
        let max_body = usize::try_from(self.max_body.as_u64())
            .map_err(|_| CliError::Usage(format!("`--max-body` is {}, which is too large", self.max_body)))?;
        let defaults = RouterOptions::default();
        Ok(RouterOptions {
            token: self.token.clone(),
            hosts: (!hosts.is_empty()).then_some(hosts),
            timeout: duration("--timeout", self.timeout)?,
            max_body,
            bodies: defaults.bodies.max(max_body.saturating_mul(4)),
        })
    }
}

fn duration(option: &str, seconds: f64) -> Result<Duration, CliError> {
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| CliError::Usage(format!("`{option}` is {seconds}, expected seconds above 0")))
}

/// Returns the memory that connections have freed, again and again.
async fn release_memory() {
    loop {
        tokio::time::sleep(RELEASES).await;
        if tokio::task::spawn_blocking(release_freed_memory).await.is_err() {
            return;
        }
    }
}

/// Waits until the user interrupts.
async fn interrupted() {
    let stop = interrupt::stop_flag();
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(INTERRUPTS).await;
    }
}
