//! Tests of recipes.

use super::*;
use sail_core::LoraConfig;
use sail_fit::FitConfig;
use sail_layers::ProjectorConfig;

fn recipe() -> Recipe {
    let head = HeadRecipe::Layers { projector: ProjectorConfig::Glu { width: 2 }, dim: 512 };
    Recipe::new("a", "b").with_holdout(9).with_head(head)
}

#[test]
fn round_trips_through_toml_and_json() {
    let recipe = recipe()
        .with_structure(StructureRecipe::new(2.0).with_levels(2))
        .with_gram(0.5)
        .with_unpaired(UnpairedRecipe::new("c", "d", 0.5).with_batch_size(64))
        .with_lora_image(LoraRecipe::new(LoraConfig::new(8).with_blocks(2)))
        .with_train(TrainConfig::default().with_max_gradient_norm(1.0).with_patience(3));
    assert_eq!(Recipe::from_toml(&recipe.to_toml().unwrap()).unwrap(), recipe);
    assert_eq!(Recipe::from_json(&serde_json::to_string(&recipe).unwrap()).unwrap(), recipe);
    let shortest = Recipe::from_toml("images = 'a'\ntexts = 'b'").unwrap();
    assert_eq!(shortest, Recipe::new("a", "b"));
}

#[test]
fn reads_the_configuration_of_earlier_runs() {
    let json = r#"{"images": "a", "texts": "b", "extra_texts": [], "rows": 1376, "holdout": 370,
        "head": {"dim": 512, "initial_scale": 20.0, "initial_bias": -10.0, "max_scale": 100.0,
            "image": {"input": 1280, "norm": true, "projector": {"kind": "glu", "width": 2}},
            "text": {"input": 384, "norm": true, "projector": {"kind": "glu", "width": 2}}},
        "loss": {"kind": "sigmoid", "normalization": "pair-count", "blocks": "mean"},
        "train": {"epochs": 50, "batch": 370, "learning_rate": 0.0001, "weight_decay": 0.0001,
            "optimizer": {"kind": "lion", "betas": [0.9, 0.99]}, "warmup": 0.1, "seed": 0,
            "evaluate_every": 5, "patience": null}}"#;
    let found = Recipe::from_json(json).unwrap();
    assert_eq!((found.rows, found.train.batch_size), (Some(1376), 370));
    assert!(matches!(found.head, HeadRecipe::Config(ref config) if config.dim == 512));
}

#[test]
fn a_teacher_is_a_method_or_a_file() {
    let teacher = |text: &str| {
        let text = format!(
            "images = 'a'\ntexts = 'b'\n[unpaired]\nimages = 'c'\ntexts = 'd'\nweight = 1.0\nteacher = {text}"
        );
        Recipe::from_toml(&text).map(|recipe| recipe.unpaired.unwrap().teacher)
    };
    assert_eq!(teacher("'procrustes'").unwrap(), Teacher::Fit(FitConfig::PROCRUSTES));
    let settings = FitConfig::Cca { dim: Some(64), regularization: None };
    assert_eq!(teacher("{ method = 'cca', dim = 64 }").unwrap(), Teacher::Fit(settings));
    assert_eq!(teacher("{ from = 'h' }").unwrap(), Teacher::Head { from: "h".into() });
    for (text, named) in [("'lda'", "lda"), ("{ from = 'h', dim = 3 }", "dim"), ("{ dim = 3 }", "method")] {
        let error = teacher(text).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn errors_name_the_invalid_field() {
    for (text, named) in [
        ("images = 'a'", "texts"),
        ("images = 'a'\ntexts = 'b'\nholdut = 3", "holdut"),
        ("images = 'a'\ntexts = 'b'\n[train]\nepoch = 3", "epoch"),
        ("images = 'a'\ntexts = 'b'\n[head]\ndim = 3\nwidth = 2", "width"),
        ("images = 'a'\ntexts = 'b'\n[head]\nprojector = { kind = 'conv' }", "conv"),
    ] {
        let error = Recipe::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    let patience = recipe().with_holdout(0).with_train(TrainConfig::default().with_patience(2));
    assert_eq!(patience.check().unwrap_err().field, "patience");
    let head = HeadRecipe::Layers { projector: ProjectorConfig::Glu { width: 0 }, dim: 512 };
    assert_eq!(recipe().with_head(head).check().unwrap_err().field, "width");
    assert_eq!(recipe().with_gram(0.0).check().unwrap_err().field, "gram");
}

#[test]
fn sets_values_by_path() {
    let found = recipe().with_setting("head.projector.width", "4").unwrap();
    let expected = HeadRecipe::Layers { projector: ProjectorConfig::Glu { width: 4 }, dim: 512 };
    assert_eq!(found.head, expected);
    let found = recipe().with_setting("train.max_gradient_norm", "0.5").unwrap();
    assert_eq!(found.train.max_gradient_norm, Some(0.5));
    for (path, value) in [("train.lr", "1"), ("train", "1"), ("train.epochs", "many"), ("images.x", "1")] {
        let error = recipe().with_setting(path, value).unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
    }
}
