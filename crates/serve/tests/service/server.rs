//! A service on a port of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use image::{Rgb, RgbImage};
use sail_data::source::{SourceOptions, open_images};
use sail_search::{Encoders, IndexModel, UpdateOptions};
use sail_serve::{ConnectionOptions, RouterOptions, Service, ServiceOptions, router, serve};
use tokio::sync::oneshot;

use crate::mean_color::{Gate, HEAD, MeanColor};

/// Colors of the images, by key.
pub(crate) const COLORS: [(&str, [u8; 3]); 4] = [
    ("warm/red.png", [250, 10, 10]),
    ("warm/yellow.png", [250, 250, 10]),
    ("cold/green.png", [10, 250, 10]),
    ("cold/blue.png", [10, 10, 250]),
];

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) service: Arc<Service>,
    pub(crate) gate: Arc<Gate>,
    folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) service: ServiceOptions,
    pub(crate) router: RouterOptions,
    pub(crate) connections: ConnectionOptions,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (key, color) in COLORS {
            paint(&folder.path().join("images").join(key), color);
        }
        update(folder.path());
        let gate = Arc::<Gate>::default();
        let model = Arc::new(MeanColor { gate: gate.clone() });
        let service = Arc::new(Service::new(folder.path().join("index"), model, setup.service).unwrap());
        let router = router(service.clone(), setup.router).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let stop = async { drop(stopped.await) };
                serve(listener, router, setup.connections, stop).await.unwrap();
            });
        });
        let address = told.recv().unwrap();
        Self { address, service, gate, folder, stop: Some(stop), thread: Some(thread) }
    }

    /// The folder of the indexed images.
    pub(crate) fn images(&self) -> PathBuf {
        self.folder.path().join("images")
    }

    /// Brings the index up to date.
    pub(crate) fn update(&self) {
        update(self.folder.path());
    }

    /// Begins to stop.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for the end.
    pub(crate) fn join(&mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.gate.open();
        self.stop();
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            assert!(std::thread::panicking() || outcome.is_ok());
        }
    }
}

fn update(folder: &Path) {
    let model = MeanColor::default();
    let (head, encoders) = (HEAD.to_vec(), Encoders::default());
    let model = IndexModel { embedder: &model, head, encoders, log_scale: 1.0, bias: 0.0 };
    let source = open_images(&folder.join("images"), &SourceOptions::default()).unwrap();
    let options = UpdateOptions { root: Some(folder.join("images")), ..UpdateOptions::default() };
    let observer = &mut |_: sail_extract::Event<'_>| ();
    sail_search::update(&folder.join("index"), &model, &source.as_ref().into(), &options, observer).unwrap();
}

/// Writes an image of one color.
pub(crate) fn paint(path: &Path, color: [u8; 3]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(40, 20, Rgb(color)).save(path).unwrap();
}

/// An image of one color as a PNG.
pub(crate) fn png(width: u32, height: u32, color: [u8; 3]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, Rgb(color)).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}
