//! What a monitoring system reads, by the official client of Prometheus.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    route: String,
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStage {
    stage: &'static str,
}

/// The metrics of a service.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    seconds: Family<Route, Histogram>,
    rows: Gauge,
    model: Stage,
    search: Stage,
}

/// The metrics of a worker thread.
#[derive(Clone)]
pub(crate) struct Stage {
    /// `model` or `search`.
    pub(crate) name: &'static str,
    /// Inputs that wait.
    pub(crate) waiting: Gauge,
    /// Inputs per batch.
    pub(crate) batches: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("sail");
        let requests = Family::<Answer, Counter>::default();
        registry.register("requests", "Requests answered", requests.clone());
        // From a thumbnail to the timeout.
        let seconds = Family::<Route, Histogram>::new_with_constructor(|| {
            Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
        });
        registry.register("request_seconds", "Time until the response began", seconds.clone());
        let rows = Gauge::default();
        registry.register("index_rows", "Images that can be found", rows.clone());
        let waiting = Family::<OfStage, Gauge>::default();
        registry.register("queue_length", "Inputs that wait for a worker", waiting.clone());
        let batches = Family::<OfStage, Histogram>::new_with_constructor(|| {
            Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0])
        });
        registry.register("batch_size", "Inputs that a worker took at once", batches.clone());
        let stage = |name| {
            let label = OfStage { stage: name };
            Stage {
                name,
                waiting: waiting.get_or_create(&label).clone(),
                batches: batches.get_or_create(&label).clone(),
            }
        };
        let (model, search) = (stage("model"), stage("search"));
        Self { registry, requests, seconds, rows, model, search }
    }

    pub(crate) fn model(&self) -> &Stage {
        &self.model
    }

    pub(crate) fn search(&self) -> &Stage {
        &self.search
    }

    pub(crate) fn set_rows(&self, rows: usize) {
        self.rows.set(i64::try_from(rows).unwrap_or(i64::MAX));
    }

    /// Counts a request. `route` is the pattern of the route, never the path of the request, whose variety has no limit.
    pub(crate) fn answered(&self, route: &str, status: u16, time: Duration) {
        self.requests.get_or_create(&Answer { route: route.to_owned(), status: status.into() }).inc();
        self.seconds.get_or_create(&Route { route: route.to_owned() }).observe(time.as_secs_f64());
    }

    /// The metrics as text, in the OpenMetrics format.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
