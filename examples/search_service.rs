//! Image search inside an axum service of your own.
//!
//! The service has a route of its own, `/similar`, an HTML page that calls the model and the index as a library, and the whole
//! page and API of `sail serve` below `/search/`. `sail index` makes an index:
//!
//! ```console
//! cargo run --release --example search_service -- photos.index
//! ```

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{Html, Redirect};
use axum::routing::get;
use sail_vl::burn::tensor::Device;
use sail_vl::hub::HubOptions;
use sail_vl::search::Index;
use sail_vl::serve::{
    ConnectionOptions, Item, RequestError, RouterOptions, Service, ServiceOptions, Term, router, serve,
};
use sail_vl::{BackboneOptions, SailModel};
use tokio::net::TcpListener;

/// What the routes share: the search, and whatever else the program has.
#[derive(Clone)]
struct App {
    search: Arc<Service>,
    shop: &'static str,
}

#[derive(serde::Deserialize)]
struct Wish {
    #[serde(default)]
    like: String,
    #[serde(default)]
    not: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("expected the path of an index")?;

    // The index has the head and names the encoders, which are loaded from the hub's cache or a folder.
    let (options, hub) = (BackboneOptions::default(), HubOptions::from_env()?);
    let model = SailModel::for_index(&Index::open(&path)?, &options, &hub, &Device::flex())?;
    let search = Arc::new(Service::new(path, Arc::new(model), ServiceOptions::default())?);

    let hosts = Some(RouterOptions::LOOPBACK.map(str::to_owned).to_vec());
    let page = router(search.clone(), RouterOptions { hosts, ..RouterOptions::default() })?;
    let app = App { search: search.clone(), shop: "The corner shop" };
    let routes = Router::new()
        .route("/", get(|| async { Redirect::temporary("/similar?like=a+red+car") }))
        .route("/similar", get(similar))
        .with_state(app)
        .nest_service("/search", page);

    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        // An index that `sail index` updates meanwhile is taken up.
        tokio::spawn(search.watch(Duration::from_secs(5)));
        let listener = TcpListener::bind("127.0.0.1:8080").await?;
        println!("http://{}", listener.local_addr()?);
        // `axum::serve(listener, routes)` works as well, without limits on connections.
        let stop = std::future::pending();
        Ok(serve(listener, routes, ConnectionOptions::default(), stop).await?)
    })
}

/// `GET /similar?like=WORDS&not=WORDS`
async fn similar(State(app): State<App>, Query(wish): Query<Wish>) -> Result<Html<String>, RequestError> {
    let mut query = vec![Term { item: Item::text(wish.like)?, weight: 1.0 }];
    if !wish.not.is_empty() {
        query.push(Term { item: Item::text(wish.not)?, weight: -0.5 });
    }
    let found = app.search.search(query, 12, Vec::new()).await?;
    let mut page = format!("<!doctype html><title>{0}</title><h1>{0}</h1>", app.shop);
    for hit in found {
        // An id is 32 hexadecimal digits; keys and captions would have to be escaped.
        let _ = write!(page, "<img src=\"/search/images/{}\" alt=\"\" title=\"{:.3}\">", hit.id, hit.score);
    }
    Ok(Html(page))
}
