//! Runs the Rust code of the READMEs, the guide and the recipes as doctests.

macro_rules! pages {
    ($($name:ident $page:literal)*) => {
        $(
            #[doc = include_str!($page)]
            pub struct $name;
        )*
    };
}

pages! {
    Readme "../../../README.md"
    Recipes "../../../docs/recipes.md"
    Encode "../../../docs/guide/encode.md"
    Train "../../../docs/guide/train.md"
    Fit "../../../docs/guide/fit.md"
    FewPairs "../../../docs/guide/few-pairs.md"
    Evaluate "../../../docs/guide/evaluate.md"
    Probe "../../../docs/guide/probe.md"
    Segment "../../../docs/guide/segment.md"
    Search "../../../docs/guide/search.md"
    Serve "../../../docs/guide/serve.md"
    Curate "../../../docs/guide/curate.md"
    Interop "../../../docs/guide/interop.md"
    Deploy "../../../docs/guide/deploy.md"
    Gpu "../../../docs/guide/gpu.md"
    CliCrate "../../../crates/cli/README.md"
    CoreCrate "../../../crates/core/README.md"
    DataCrate "../../../crates/data/README.md"
    EncodersCrate "../../../crates/encoders/README.md"
    EvalCrate "../../../crates/eval/README.md"
    ExtractCrate "../../../crates/extract/README.md"
    FetchCrate "../../../crates/fetch/README.md"
    FitCrate "../../../crates/fit/README.md"
    HubCrate "../../../crates/hub/README.md"
    LayersCrate "../../../crates/layers/README.md"
    LossesCrate "../../../crates/losses/README.md"
    ProbeCrate "../../../crates/probe/README.md"
    ReportCrate "../../../crates/report/README.md"
    SearchCrate "../../../crates/search/README.md"
    ServeCrate "../../../crates/serve/README.md"
    SupportCrate "../../../crates/support/README.md"
    TasksCrate "../../../crates/tasks/README.md"
    TrainCrate "../../../crates/train/README.md"
}
